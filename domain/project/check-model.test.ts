import { describe, expect, test } from 'vitest';
import {
  column,
  featureSet,
  hours,
  label,
  minutes,
  model,
  project,
  source,
  spine,
  training,
  type ProjectSpec,
} from './authoring.ts';
import { checkProjectSpec } from './check.ts';

const flights = source('flights', {
  description: '',
  owner: 'team',
  columns: {
    date: column.ts(),
    delay: column.i64(),
    distance: column.f64(),
    carrier: column.str(),
    stops: column.i64(),
    night: column.bool(),
  },
  eventAt: 'date',
  availableAt: (row) => row.date.plusMinutes(60),
  eventId: ['date'],
  freshnessSla: hours(1),
});
const request = { distance: column.f64(), carrier: column.str(), stops: column.i64(), night: column.bool() } as const;
const set = featureSet('set', {
  version: 1,
  description: '',
  request,
  views: {},
  derived: { far: (row) => row.request.distance.minus(500) },
});
const departures = spine('departures', {
  source: flights,
  asOf: (row) => row.date,
  request: (row) => ({ distance: row.distance, carrier: row.carrier, stops: row.stops, night: row.night }),
});

function aProject(contract: Partial<Parameters<typeof aModel>[0]> = {}): ProjectSpec {
  return project('flights', { description: '', models: [aModel(contract)] });
}

function aModel({
  calibration,
  validationFraction = 0.1,
  unit,
  ...contract
}: {
  classes?: readonly [string, string];
  slices?: { by: 'carrier' | 'distance' | 'stops' | 'night'; thresholds: Record<string, number> };
  calibration?: 'platt';
  validationFraction?: number;
  unit?: string;
}) {
  return model('late', {
    description: '',
    owner: 'team',
    riskTier: 'low',
    spine: departures,
    label: label('late', { source: flights, of: (row) => row.delay.ge(15), description: '' }),
    threshold: 0.5,
    ...contract,
    latencyBudgetMsP99: 50,
    rule: { featureSet: set, score: (row) => row.derived.far.times(0) },
    gates: [{ kind: 'schema' }],
    rollout: {
      stages: [{ weightPercent: 5, minDurationMs: 1, maxDurationMs: minutes(1).micros / 1000, minCanaryRequests: 1 }],
      guardrails: [{ metric: 'errors', margin: 0.01, direction: 'increase', required: true }],
      ...(unit !== undefined && { unit }),
    },
    monitors: [],
    logSampleRate: 0.1,
    trainings: [
      training('logistic', {
        featureSet: set,
        trainer: { kind: 'logistic', validationFraction },
        split: { trainFrom: '2001-01-01', testFrom: '2001-05-01', testTo: '2001-06-01' },
        seed: 1,
        description: '',
        ...(calibration !== undefined && { calibration }),
      }),
    ],
  });
}

const checked = (spec: unknown) => checkProjectSpec(JSON.parse(JSON.stringify(spec)));

test('classes, slices and a calibration are in the spec, and pass its check unchanged', () => {
  const spec = aProject({
    classes: ['on time', 'late'],
    slices: { by: 'carrier', thresholds: { AA: 0.4 } },
    calibration: 'platt',
  });
  expect(spec.models[0]).toMatchObject({
    classes: ['on time', 'late'],
    slices: { by: 'carrier', thresholds: { AA: 0.4 } },
    trainings: [{ calibration: 'platt' }],
  });
  expect(checked(spec)).toEqual(spec);
});

test('what an author leaves out is absent, so that the digests of projects stay', () => {
  const [declared] = aProject().models;
  for (const member of ['classes', 'slices']) expect(declared).not.toHaveProperty(member);
  expect(declared!.rollout).not.toHaveProperty('unit');
  expect(declared!.trainings[0]).not.toHaveProperty('calibration');
});

test.each([
  ['stops', { '0': 0.1, '-2': 0.4, '12': 0.4 }],
  ['night', { true: 0.1, false: 0.4 }],
] as const)('slices may be by %s', (by, thresholds) => {
  const spec = aProject({ slices: { by, thresholds } });
  expect(checked(spec)).toEqual(spec);
});

test.each(['carrier', 'stops'])('the units of a rollout may be told by %s', (unit) => {
  const spec = aProject({ unit });
  expect(spec.models[0]!.rollout).toMatchObject({ unit });
  expect(checked(spec)).toEqual(spec);
});

describe('refused', () => {
  // oxlint-disable-next-line typescript/no-explicit-any -- a spec as loose as what arrives over HTTP
  const cases: [string, string, RegExp, (model: any) => unknown][] = [
    ['one class', 'SPEC_INVALID', /classes is \["late"\]; it must be a list of 2/, (m) => (m.classes = ['late'])],
    ['three classes', 'SPEC_INVALID', /two different names/, (m) => (m.classes = ['a', 'b', 'c'])],
    ['one name twice', 'SPEC_INVALID', /two different names/, (m) => (m.classes = ['a', 'a'])],
    ['a class without a name', 'SPEC_INVALID', /two different names/, (m) => (m.classes = ['', 'a'])],
    [
      'units by an unknown field',
      'REFERENCE_MISSING',
      /rollout\.unit is "carier".*did you mean "carrier"\?/,
      (m) => (m.rollout.unit = 'carier'),
    ],
    [
      'units by a number with a point',
      'SPEC_INVALID',
      /rollout\.unit is "distance"; its type is f64; a unit is named by a field of type str or i64/,
      (m) => (m.rollout.unit = 'distance'),
    ],
    ['units by nothing', 'SPEC_INVALID', /rollout\.unit is ""; it must be a text/, (m) => (m.rollout.unit = '')],
    [
      'slices by an unknown field',
      'REFERENCE_MISSING',
      /slices\.by is "carier".*did you mean "carrier"\?/,
      (m) => (m.slices = { by: 'carier', thresholds: { AA: 0.4 } }),
    ],
    [
      'slices by a number with a point',
      'SPEC_INVALID',
      /slices\.by is "distance"; its type is f64/,
      (m) => (m.slices = { by: 'distance', thresholds: { '1.5': 0.4 } }),
    ],
    [
      'a value that a whole number is never written as',
      'SPEC_INVALID',
      /thresholds is "007"; no value of the field stops, which is i64, is written so/,
      (m) => (m.slices = { by: 'stops', thresholds: { '007': 0.4 } }),
    ],
    [
      'a truth value in words',
      'SPEC_INVALID',
      /no value of the field night/,
      (m) => (m.slices = { by: 'night', thresholds: { yes: 0.4 } }),
    ],
    [
      'a threshold above 1',
      'SPEC_INVALID',
      /thresholds\.AA is 1.5; it must be a number between 0 and 1/,
      (m) => (m.slices = { by: 'carrier', thresholds: { AA: 1.5 } }),
    ],
    [
      'no thresholds',
      'SPEC_INVALID',
      /thresholds is \{\}; it must be an object of 1 to 1000/,
      (m) => (m.slices = { by: 'carrier', thresholds: {} }),
    ],
    [
      'an unknown calibration',
      'SPEC_INVALID',
      /calibration is "beta"; it must be one of platt, isotonic, temperature/,
      (m) => (m.trainings[0].calibration = 'beta'),
    ],
    [
      'a calibration without rows to fit it on',
      'SPEC_INVALID',
      /calibration is "platt"; .*validationFraction above 0/,
      (m) => {
        m.trainings[0].calibration = 'platt';
        m.trainings[0].trainer.validationFraction = 0;
      },
    ],
  ];
  test.each(cases)('%s', (_, code, message, change) => {
    const spec = JSON.parse(JSON.stringify(aProject())) as ProjectSpec;
    change(spec.models[0]);
    expect(() => checkProjectSpec(spec)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) as string }),
    );
  });
});
