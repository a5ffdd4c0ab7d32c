import { expect, test } from 'vitest';
import flights from '../../examples/flights/project.ts';
import {
  column,
  count,
  days,
  entity,
  featureSet,
  featureView,
  label,
  latest,
  mean,
  model,
  project,
  source,
  spine,
  training,
  window,
} from './authoring.ts';
import { checkProjectSpec } from './check.ts';
import { personalDataOf } from './personal-data.ts';
import type { ProjectSpec } from './spec.ts';

const visits = source('visits', {
  description: '',
  owner: 'clinic',
  columns: {
    visit: column.i64(),
    patient: column.str({ pii: true }),
    ward: column.str(),
    weight: column.f64({ pii: true }),
    minutes: column.f64(),
    at: column.ts(),
  },
  eventAt: 'at',
  availableAt: (row) => row.at.plusMinutes(60),
  eventId: ['visit'],
  freshnessSla: days(1),
});
// the same people, by a source that does not say it of its own column
const calls = source('calls', {
  description: '',
  owner: 'clinic',
  columns: { call: column.i64(), who: column.str(), at: column.ts() },
  eventAt: 'at',
  availableAt: (row) => row.at.plusMinutes(60),
  eventId: ['call'],
  freshnessSla: days(1),
});
const patient = entity('patient', { keys: { id: 'str' }, description: '' });
const ward = entity('ward', { keys: { id: 'str' }, description: '' });
const aWeek = { windows: { '7d': window(days(7)) } };
const byPatient = featureView('by_patient', {
  version: 1,
  source: visits,
  entity: patient,
  key: { id: 'patient' },
  owner: 'clinic',
  description: '',
  features: (row) => ({ weight: mean(row.weight, aWeek), visits: count(aWeek), last_minutes: latest(row.minutes) }),
});
const byCaller = featureView('by_caller', {
  version: 1,
  source: calls,
  entity: patient,
  key: { id: 'who' },
  owner: 'clinic',
  description: '',
  features: () => ({ calls: count(aWeek) }),
});
const byWard = featureView('by_ward', {
  version: 1,
  source: visits,
  entity: ward,
  key: { id: 'ward' },
  owner: 'clinic',
  description: '',
  features: (row) => ({ minutes: mean(row.minutes, aWeek) }),
});

function aProject(): ProjectSpec {
  const stay = featureSet('stay', {
    version: 1,
    description: '',
    request: {
      person: column.str(),
      caller: column.str(),
      ward: column.str(),
      age: column.i64({ pii: true }),
      heavy: column.f64(),
      hour: column.i64(),
    },
    views: {
      own: byPatient.as({ id: 'person' }).pick({ weight: ['7d'], visits: ['7d'], last_minutes: true }),
      calls: byCaller.as({ id: 'caller' }).pick({ calls: ['7d'] }),
      here: byWard.as({ id: 'ward' }).pick({ minutes: ['7d'] }),
    },
    derived: {
      old: (row) => row.request.age.minus(70),
      older: (row) => row.derived.old.plus(1),
      late: (row) => row.request.hour.ge(20),
    },
  });
  return checkProjectSpec(
    project('clinic', {
      description: '',
      models: [
        model('stay-long', {
          description: '',
          owner: 'clinic',
          riskTier: 'low',
          spine: spine('admissions', {
            source: visits,
            asOf: (row) => row.at,
            request: (row) => ({
              person: row.patient,
              caller: row.ward,
              ward: row.ward,
              age: row.visit,
              heavy: row.weight.plus(1),
              hour: row.visit,
            }),
          }),
          label: label('long', { source: visits, of: (row) => row.minutes.ge(60), description: '' }),
          threshold: 0.5,
          latencyBudgetMsP99: 50,
          rule: { featureSet: stay, score: (row) => row.here.minutes['7d'].coalesce(0.5) },
          gates: [{ kind: 'schema' }],
          rollout: {
            stages: [{ weightPercent: 5, minDurationMs: 1, maxDurationMs: 2, minCanaryRequests: 1 }],
            guardrails: [{ metric: 'errors', margin: 0.01, direction: 'increase', required: true }],
          },
          monitors: [],
          logSampleRate: 1,
          trainings: [
            training('small', {
              featureSet: stay,
              trainer: { kind: 'logistic' },
              split: { trainFrom: '2001-01-08', testFrom: '2001-05-01', testTo: '2001-06-01' },
              seed: 1,
              description: '',
            }),
          ],
        }),
      ],
    }),
  );
}

test('personal fields are those that say so, keys that any view reads from a personal column, and what a spine makes of one', () => {
  expect(personalDataOf(aProject(), 'stay@1').fields).toEqual(['person', 'caller', 'age', 'heavy']);
});

test('features that can give a personal value back are personal, through other features too; counts are not', () => {
  expect(personalDataOf(aProject(), 'stay@1').features).toEqual(['own__weight__7d', 'old', 'older']);
});

test('a request field that says nothing leaves the definition as it was before there was anything to say', () => {
  const set = aProject().featureSets[0]!;
  expect(set.request.find(({ name }) => name === 'hour')).toEqual({ name: 'hour', type: 'i64', description: '' });
  expect(set.request.find(({ name }) => name === 'age')).toMatchObject({ pii: true });
});

test('the example has nothing personal in what it asks for', () => {
  for (const { name, version } of flights.featureSets)
    expect(personalDataOf(flights, `${name}@${version}`)).toEqual({ fields: [], features: [] });
});
