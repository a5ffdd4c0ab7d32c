import { expect, test } from 'vitest';
import { SerinError, type ErrorCode } from '../errors.ts';
import { column, featureSet, hours, label, model, project, source, spine, training } from './authoring.ts';
import { checkProjectSpec } from './check.ts';
import type { ProjectSpec, ServingSpec } from './spec.ts';

const trips = source('trips', {
  description: '',
  owner: 'team',
  columns: { at: column.ts(), city: column.str(), km: column.f64(), fare: column.f64() },
  eventAt: 'at',
  availableAt: (row) => row.at.plusMinutes(1),
  eventId: ['at', 'city'],
  freshnessSla: hours(1),
});
const rides = spine('rides', {
  source: trips,
  asOf: (row) => row.at,
  request: (row) => ({ city: row.city, km: row.km }),
});
const dear = label('dear', { source: trips, of: (row) => row.fare.ge(20), description: '' });

const whole = featureSet('whole', {
  version: 1,
  description: '',
  request: { city: column.str(), km: column.f64() },
  views: {},
  derived: { far: (row) => row.request.km.minus(10), short_name: (row) => row.request.city.eq('Ayr') },
});
const small = featureSet('small', {
  version: 1,
  description: '',
  request: { km: column.f64() },
  views: {},
  derived: { far: (row) => row.request.km.minus(10) },
});

const contract = {
  description: '',
  owner: 'team',
  riskTier: 'low',
  spine: rides,
  label: dear,
  threshold: 0.5,
  latencyBudgetMsP99: 50,
  gates: [{ kind: 'schema' }],
  rollout: {
    stages: [{ weightPercent: 5, minDurationMs: 1, maxDurationMs: 2, minCanaryRequests: 1 }],
    guardrails: [{ metric: 'errors', margin: 0.01, direction: 'increase', required: true }],
  },
  monitors: [],
  logSampleRate: 0.1,
} as const;
const split = { trainFrom: '2001-01-01', testFrom: '2001-02-01', testTo: '2001-03-01' } as const;
const logistic = { trainer: { kind: 'logistic' }, split, seed: 1, description: '' } as const;

const plain = model('plain', {
  ...contract,
  rule: { featureSet: small, score: (row) => row.derived.far.div(100) },
  trainings: [training('logistic', { featureSet: small, ...logistic })],
});
const rich = model('rich', {
  ...contract,
  rule: { featureSet: small, score: (row) => row.derived.far.div(100) },
  trainings: [training('logistic', { featureSet: whole, ...logistic })],
  serving: { timeoutMs: 20, mandatory: ['short_name'], fallback: plain },
});

/** The project of both, with other promises than it is written with. */
function withServing(serving: Readonly<Record<string, ServingSpec>>): ProjectSpec {
  const spec = project('taxis', { description: '', models: [rich, plain] });
  return {
    ...spec,
    models: spec.models.map(({ serving: _, ...rest }) => ({
      ...rest,
      ...(serving[rest.name] && { serving: serving[rest.name]! }),
    })),
  };
}

function refusalOf(spec: ProjectSpec): SerinError {
  try {
    checkProjectSpec(spec);
  } catch (error) {
    if (error instanceof SerinError) return error;
    throw error;
  }
  throw new Error('the project was taken');
}

test('a fallback model is written as the model and kept as its name', () => {
  const { models } = project('taxis', { description: '', models: [rich, plain] });
  expect(models.map(({ serving }) => serving)).toEqual([
    { timeoutMs: 20, mandatory: ['short_name'], fallback: 'plain' },
    undefined,
  ]);
  expect(models[1]).not.toHaveProperty('serving');
});

test.each<[string, ErrorCode, RegExp, Readonly<Record<string, ServingSpec>>]>([
  [
    'a fallback that does not exist',
    'REFERENCE_MISSING',
    /models\.rich\.serving\.fallback is "plane".* did you mean "plain"/,
    { rich: { fallback: 'plane' } },
  ],
  ['a model as its own fallback', 'SPEC_INVALID', /cannot fall back on itself/, { rich: { fallback: 'rich' } }],
  [
    'a fallback that wants more than is sent',
    'REFERENCE_MISSING',
    /models\.plain\.serving\.fallback: a request field of rich \(whole@1\) is "city", but there is no request field of small@1/,
    { plain: { fallback: 'rich' } },
  ],
  [
    'a mandatory feature that no training reads',
    'REFERENCE_MISSING',
    /models\.rich\.serving\.mandatory\[0\] is "shirt_name".* did you mean "short_name"/,
    { rich: { mandatory: ['shirt_name'] } },
  ],
  ['a feature twice', 'DUPLICATE_NAME', /has the feature "far" twice/, { rich: { mandatory: ['far', 'far'] } }],
  ['no mandatory feature', 'SPEC_INVALID', /serving\.mandatory is \[\]/, { rich: { mandatory: [] } }],
  ['no time at all', 'SPEC_INVALID', /serving\.timeoutMs is 0/, { rich: { timeoutMs: 0 } }],
])('%s is refused', (_, code, message, serving) => {
  const refusal = refusalOf(withServing(serving));
  expect([refusal.code, refusal.message]).toEqual([code, expect.stringMatching(message)]);
});

test('models that fall back on each other are refused, with the circle', () => {
  const spec = withServing({ rich: { fallback: 'plain' }, plain: { fallback: 'rich' } });
  // of one feature set, so that only the circle is wrong
  const models = spec.models.map((each) => ({
    ...each,
    rule: spec.models[1]!.rule,
    trainings: spec.models[1]!.trainings,
  }));
  const refusal = refusalOf({ ...spec, models });
  expect([refusal.code, refusal.message]).toEqual(['REFERENCE_CYCLE', expect.stringContaining('rich → plain → rich')]);
});
