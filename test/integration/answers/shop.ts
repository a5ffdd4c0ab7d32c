/** A shop whose model says which orders come back: its rule reads the online store, what is trained reads the request. */
import {
  column,
  count,
  entity,
  featureSet,
  featureView,
  hours,
  label,
  latest,
  model,
  project,
  source,
  spine,
  training,
  window,
} from '../../../domain/project/authoring.ts';

export const NOW = Date.now() * 1_000;
export const MODEL = 'returned';
/** Of the model's columns; the dataset of the test has them by these names. */
export const NUMBERS = ['linear', 'stepped', 'weekday', 'noise'] as const;

const orders = source('orders', {
  description: '',
  owner: 'team',
  columns: {
    at: column.ts(),
    customer: column.i64(),
    origin: column.str(),
    amount: column.f64(),
    returned: column.bool(),
  },
  eventAt: 'at',
  availableAt: (row) => row.at.plusMinutes(1),
  eventId: ['at', 'customer'],
  freshnessSla: hours(1),
});
const customer = entity('customer', { keys: { customer: 'i64' }, description: '' });
const activity = featureView('activity', {
  version: 1,
  entity: customer,
  source: orders,
  key: { customer: 'customer' },
  description: '',
  features: (row) => ({
    orders: count({ windows: { '24h': window(hours(24)) }, default: 0 }),
    amount: latest(row.amount),
  }),
});
const request = {
  customer: column.i64(),
  origin: column.str(),
  a: column.f64(),
  b: column.f64(),
  c: column.f64(),
  d: column.f64(),
} as const;
/** What the model is trained on: numbers of the request. */
const trained = featureSet('trained', {
  version: 1,
  description: '',
  request,
  views: {},
  derived: {
    linear: (row) => row.request.a,
    stepped: (row) => row.request.b,
    weekday: (row) => row.request.c,
    noise: (row) => row.request.d,
  },
});
/** What the rule reads: the online store. */
const history = featureSet('history', {
  version: 1,
  description: '',
  request,
  views: { customer: activity.as({ customer: 'customer' }).pick({ orders: ['24h'], amount: true }) },
});
const observed = spine('orders', {
  source: orders,
  asOf: (row) => row.at,
  request: (row) => ({
    customer: row.customer,
    origin: row.origin,
    a: row.amount,
    b: row.amount,
    c: row.amount,
    d: row.amount,
  }),
});

export const spec = project('shop', {
  description: '',
  models: [
    model(MODEL, {
      description: '',
      owner: 'team',
      riskTier: 'low',
      spine: observed,
      label: label('returned', { source: orders, of: (row) => row.returned, description: '' }),
      threshold: 0.5,
      classes: ['kept', 'returned'],
      slices: { by: 'origin', thresholds: { JFK: 0.3, SEA: 0.7 } },
      latencyBudgetMsP99: 5_000,
      rule: { featureSet: history, score: (row) => row.customer.orders['24h'].times(0.125) },
      // what the model says itself is further from the truth than this, what is answered is nearer
      gates: [{ kind: 'calibration', maxEce: 0.08 }],
      rollout: {
        stages: [{ weightPercent: 5, minDurationMs: 1, maxDurationMs: 2, minCanaryRequests: 1 }],
        guardrails: [{ metric: 'errors', margin: 0.01, direction: 'increase', required: true }],
      },
      monitors: [],
      logSampleRate: 1,
      trainings: [
        training('gbt', {
          featureSet: trained,
          trainer: { kind: 'gbt', trees: 150, leaves: 31, learningRate: 0.3, validationFraction: 0.3 },
          split: { trainFrom: '2001-01-01', testFrom: '2001-05-01', testTo: '2001-06-01' },
          seed: 1,
          description: '',
          calibration: 'platt',
        }),
      ],
    }),
  ],
});
