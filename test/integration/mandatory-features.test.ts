/** A version that must not be asked without a stored feature: live events, expired ones and none, in the online store as it is. */
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { registerVersion } from '../../db/registry.ts';
import { getRoute, moveRoute } from '../../db/routes.ts';
import { formatTime } from '../../domain/features/time-text.ts';
import {
  column,
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
} from '../../domain/project/authoring.ts';
import { ruleManifest } from '../../domain/registry/rule-manifest.ts';
import { MICROS_PER_HOUR } from '../../domain/time.ts';
import { compileViewOf } from '../../features/kernel/compiled-view.ts';
import { applyEvents } from '../../features/online/apply-events.ts';
import { linearOnnx } from '../../inference/model/onnx-fixture.ts';
import { openBlobStore } from '../../platform/file-blob-store.ts';
import { createLogger } from '../../platform/logger.ts';
import { serveProject, type ServedProject } from '../setup/served-project.ts';

const MODEL = 'churn';
const NOW = Date.now() * 1_000;
const hoursAgo = (count: number): number => NOW - count * MICROS_PER_HOUR;

const orders = source('orders', {
  description: '',
  owner: 'team',
  columns: { at: column.ts(), customer: column.i64(), amount: column.f64(), churned: column.bool() },
  eventAt: 'at',
  availableAt: (row) => row.at.plusMinutes(1),
  eventId: ['at', 'customer'],
  freshnessSla: hours(1),
});
const lastOrder = featureView('last_order', {
  version: 1,
  entity: entity('customer', { keys: { customer: 'i64' }, description: '' }),
  source: orders,
  key: { customer: 'customer' },
  description: '',
  ttl: hours(3),
  features: (row) => ({ amount: latest(row.amount) }),
});
const request = { customer: column.i64(), visits: column.f64() } as const;
const stored = featureSet('stored', {
  version: 1,
  description: '',
  request,
  views: { customer: lastOrder.as({ customer: 'customer' }).pick({ amount: true }) },
});
const plain = featureSet('plain', {
  version: 1,
  description: '',
  request,
  views: {},
  derived: { visits_now: (row) => row.request.visits.times(1) },
});
const spec = project('shop', {
  description: '',
  models: [
    model(MODEL, {
      description: '',
      owner: 'team',
      riskTier: 'low',
      spine: spine('orders', {
        source: orders,
        asOf: (row) => row.at,
        request: (row) => ({ customer: row.customer, visits: row.amount }),
      }),
      label: label('churned', { source: orders, of: (row) => row.churned, description: '' }),
      threshold: 0.5,
      latencyBudgetMsP99: 5_000,
      rule: { featureSet: plain, score: (row) => row.derived.visits_now.div(32) },
      gates: [{ kind: 'schema' }],
      rollout: {
        stages: [{ weightPercent: 5, minDurationMs: 1, maxDurationMs: 2, minCanaryRequests: 1 }],
        guardrails: [{ metric: 'errors', margin: 0.01, direction: 'increase', required: true }],
      },
      monitors: [],
      logSampleRate: 0,
      trainings: [
        training('logistic', {
          featureSet: stored,
          trainer: { kind: 'logistic' },
          split: { trainFrom: '2001-01-01', testFrom: '2001-05-01', testTo: '2001-06-01' },
          seed: 1,
          description: '',
        }),
      ],
      serving: { mandatory: ['customer__amount'] },
    }),
  ],
});

let served: ServedProject;

beforeAll(async () => {
  served = await serveProject({ spec, logger: createLogger({ service: 'inference', node: 'test', level: 'silent' }) });
  const { database, digest, features, folder, node } = served;
  const views = [compileViewOf(spec, 'last_order@1')];
  const event = (seq: number, customer: number, eventAt: number) => ({
    seq,
    eventAt,
    availableAt: eventAt + 60_000_000,
    clockAt: null,
    row: { at: eventAt, customer, amount: customer * 8, churned: false },
  });
  const events = [event(1, 1, hoursAgo(10)), event(2, 2, hoursAgo(1))];
  await applyEvents({ views, events, fromSeqExclusive: 0, toSeq: 2, store: features.store as never });

  const declared = spec.models[0]!;
  const modelFile = await openBlobStore(pathToFileURL(folder).href).put(linearOnnx({ weights: [0.125], bias: 0 }));
  await registerVersion(database.db, {
    at: 1,
    manifest: {
      ...ruleManifest(spec, declared, { projectDigest: digest, author: 'ada' }),
      version: 1,
      kind: 'onnx',
      featureSet: 'stored@1',
      featureNames: ['customer__amount'],
      modelFile,
      runId: 'run-1',
    },
    sha256: 'v1',
  });
  const route = await getRoute(database.db, MODEL);
  const target = { ...route, champion: 1, lastKnownGood: 1 };
  await moveRoute(database.db, { model: MODEL, expectedEpoch: route.epoch, target, at: 2, reason: 'test' });
  await node.refreshRoutes();
});
afterAll(() => served.close());

test('of one batch, rows whose mandatory feature is expired or was never there come down to the rule, with the reason', async () => {
  const instances = [
    { id: 'live', customer: 2, visits: 4 },
    { id: 'expired', customer: 1, visits: 4 },
    { id: 'live then', customer: 1, visits: 4, asOf: formatTime(hoursAgo(8)) },
    { id: 'unknown', customer: 3, visits: 4 },
  ];
  const response = await served.node.app.inject({
    method: 'POST',
    url: `/v1/models/${MODEL}/predict?explain=features`,
    payload: { instances },
  });
  expect(response.statusCode, response.body).toBe(200);
  const { predictions } = response.json<{
    predictions: { score: number; version: number; rung: string; reason?: string; error: string | null }[];
  }>();
  expect(predictions.map(({ score, version, rung, reason, error }) => [score, version, rung, reason, error])).toEqual([
    [2, 1, 'champion', undefined, null],
    [0.125, 0, 'rule', 'missing_feature', 'v1: customer__amount is expired'],
    [1, 1, 'champion', undefined, null],
    [0.125, 0, 'rule', 'missing_feature', 'v1: customer__amount is not found'],
  ]);
});
