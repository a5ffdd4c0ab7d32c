import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { asyncLocalStorage, type Context } from '@temporalio/activity';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTrainingActivities } from '../../activities/training.ts';
import type { RunResult } from '../../activities/training-plan.ts';
import { applyProject } from '../../db/apply-project.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { listPredictions } from '../../db/predictions.ts';
import { getVersion } from '../../db/registry.ts';
import { getRoute, moveRoute, type RouteTarget } from '../../db/routes.ts';
import { getRun, putDataset } from '../../db/runs.ts';
import { createToken, revokeTokens } from '../../db/tokens.ts';
import { calibrate, calibrationText } from '../../domain/calibration/calibration.ts';
import type { DatasetManifest } from '../../domain/features/dataset-manifest.ts';
import { formatTime } from '../../domain/features/time-text.ts';
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
} from '../../domain/project/authoring.ts';
import { MICROS_PER_HOUR } from '../../domain/time.ts';
import { compileViewOf } from '../../features/kernel/compiled-view.ts';
import { applyEvents } from '../../features/online/apply-events.ts';
import { type Features, openFeatures } from '../../inference/process/open-features.ts';
import { startRoutedNode } from '../../inference/process/routed-node.ts';
import type { ServingNode } from '../../inference/process/serving-node.ts';
import { openBlobStore } from '../../platform/file-blob-store.ts';
import { createLogger } from '../../platform/logger.ts';
import { writeDataset } from '../../training/testing/a-dataset.ts';
import { createTestDatabase } from '../setup/test-database.ts';

const logger = createLogger({ service: 'inference', node: 'test', level: 'silent' });
const NOW = Date.now() * 1_000;
const EARLIER = NOW - 10 * MICROS_PER_HOUR;
const MODEL = 'returned';
/** Of the model's columns; the dataset of the test has them by these names. */
const NUMBERS = ['linear', 'stepped', 'weekday', 'noise'] as const;

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

const spec = project('shop', {
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

let folder: string;
let database: Database;
let features: Features;
let node: ServingNode;
let tokens: { readonly engineer: string; readonly viewer: string };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-answers-'));
  const databaseUrl = await createTestDatabase();
  database = connectDatabase(databaseUrl, { name: 'test', max: 4 });
  await applyProject(database.db, { spec, bundleSha256: null, by: 'ada', at: NOW });
  features = openFeatures(databaseUrl);
  tokens = {
    engineer: await createToken(database.db, { principal: 'ada', roles: ['engineer'], at: NOW }),
    viewer: await createToken(database.db, { principal: 'vic', roles: ['viewer'], at: NOW }),
  };
  node = await startRoutedNode({
    config: {
      databaseUrl,
      blobUrl: pathToFileURL(folder).href,
      nodeId: 'node-1',
      inferenceHost: '127.0.0.1',
      inferencePort: 0,
    },
    logger,
    inputOf: features.inputOf,
    store: features.store,
  });
});
afterAll(async () => {
  await node?.close();
  await features?.close();
  await database?.close();
  await rm(folder, { recursive: true, force: true });
});

interface Prediction {
  readonly predictionId: string;
  readonly score: number;
  readonly rawScore: number;
  readonly label: number;
  readonly class: string;
  readonly version: number;
  readonly arm: string;
  readonly rung: string;
  readonly threshold: number;
  readonly slice: string | null;
  readonly readAt: string;
  readonly features: Readonly<Record<string, { value: number | null; status: string; ageSeconds: number | null }>>;
}

const anOrder = (overrides: object = {}): object => ({
  customer: 1,
  origin: 'ORD',
  a: 0.2,
  b: 0.4,
  c: 3,
  d: 0.5,
  ...overrides,
});

const fieldsOf = (order: object): string[] => Object.entries(order).map(([name, value]) => `${name}=${value}`);

async function ask(
  body: object,
  { headers = {}, explain = true }: { headers?: Record<string, string>; explain?: boolean } = {},
) {
  const response = await node.app.inject({
    method: 'POST',
    url: `/v1/models/${MODEL}/predict${explain ? '?explain=features' : ''}`,
    headers,
    payload: body,
  });
  return {
    status: response.statusCode,
    problem: response.json<{ type: string; detail: string; field?: string }>(),
    predictions: response.json<{ predictions: Prediction[] }>().predictions,
  };
}

async function route(target: Partial<RouteTarget>): Promise<number> {
  const standing = await getRoute(database.db, MODEL);
  const { epoch } = await moveRoute(database.db, {
    model: MODEL,
    expectedEpoch: standing.epoch,
    target: { ...standing, ...target },
    at: NOW,
    reason: 'test',
  });
  await node.refreshRoutes();
  return epoch;
}

/** Activities ask their context for the attempt, its heartbeats and its cancellation. */
function asActivity<T>(work: () => Promise<T>): Promise<T> {
  const context = {
    info: { attempt: 1, heartbeatDetails: undefined },
    cancellationSignal: new AbortController().signal,
    heartbeat: () => undefined,
    log: logger,
  };
  return asyncLocalStorage.run(context as unknown as Context, work);
}

describe('a calibrated version', () => {
  let result: RunResult;
  let version: number;

  beforeAll(async () => {
    const blobs = openBlobStore(pathToFileURL(folder).href);
    const activities = createTrainingActivities({
      db: database.db,
      pool: database.pool,
      blobs,
      onlineStore: features.store as never,
      config: { workDir: folder, duckdbMemory: '500MB', duckdbThreads: 1 },
      logger,
      now: () => NOW,
    });
    const path = join(folder, 'dataset.parquet');
    await writeDataset(path, { rows: 6_000 });
    const manifest = {
      featureSet: 'trained@1',
      features: NUMBERS,
      rows: 6_000,
      leakage: [],
      file: await blobs.putFile(path),
    } as unknown as DatasetManifest;
    await putDataset(database.db, { digest: 'dataset', project: 'shop', model: MODEL, manifest, at: NOW });

    const { runId } = await activities.openRun({ model: MODEL, training: 'gbt', author: 'ada', key: 'x'.repeat(12) });
    await asActivity(() => activities.train({ runId, dataset: 'dataset' }));
    await asActivity(() => activities.evaluate({ runId, dataset: 'dataset' }));
    const decided = await activities.decideGates({ runId, dataset: 'dataset', kinds: 'all' });
    if (decided.verdict !== 'pass') throw new Error(decided.sentences.join('\n'));
    result = (await getRun(database.db, runId)).result as RunResult;
    ({ version } = await activities.registerVersion({ runId }));
    await route({ champion: version, lastKnownGood: 0 });
  }, 180_000);

  test('is judged by what it answers: the gate passes a model that it would stop uncalibrated', async () => {
    const { calibration } = result.evaluation!;
    expect(calibration.before!.ece).toBeGreaterThan(0.08);
    expect(calibration.ece).toBeLessThan(0.08);
    const { manifest } = await getVersion(database.db, MODEL, version);
    expect(manifest).toMatchObject({
      calibration: { method: 'platt', rows: 1_440 },
      classes: ['kept', 'returned'],
      slices: { by: 'origin', thresholds: { JFK: 0.3, SEA: 0.7 } },
      threshold: 0.5,
    });
    expect(manifest.calibration).toEqual(result.calibration);
  });

  test('carries golden rows, with missing values among them, and is served since it answers them', async () => {
    const { manifest } = await getVersion(database.db, MODEL, version);
    const { features: rows, scores } = manifest.goldens!;
    expect([rows.length, scores.length]).toEqual([16, 16]);
    expect(rows.every((row) => row.length === NUMBERS.length)).toBe(true);
    expect(rows.flat()).toContain(null);
    expect(new Set(scores).size).toBeGreaterThan(4);
    expect((await node.app.inject(`/v1/models/${MODEL}`)).json()).toMatchObject({
      versions: [{ version, loaded: { goldenRows: 16 } }, { version: 0 }],
    });
  });

  test('answers with the calibrated score of what its model file gives', async () => {
    const { manifest } = await getVersion(database.db, MODEL, version);
    const values = [-1.5, -0.5, 0, 0.5, 1.5];
    const { predictions } = await ask({ instances: values.map((a) => anOrder({ a })) });
    for (const { score, rawScore, version: answering, rung } of predictions) {
      expect([answering, rung]).toEqual([version, 'champion']);
      expect(score).toBe(calibrate(manifest.calibration!, rawScore));
    }
    const tensor = await node.app.inject({
      method: 'POST',
      url: `/v2/models/${MODEL}/infer`,
      payload: {
        inputs: [
          {
            name: 'features',
            datatype: 'FP32',
            shape: [values.length, NUMBERS.length],
            data: values.flatMap((a) => [a, 0.4, 3, 0.5]),
          },
        ],
      },
    });
    const [output] = tensor.json<{ outputs: { data: number[] }[] }>().outputs;
    expect(output!.data).toEqual(predictions.map(({ rawScore }) => rawScore));
    expect(new Set(output!.data).size).toBeGreaterThan(1);
  });

  test('labels and names the class by the threshold of the slice', async () => {
    const { predictions } = await ask({
      instances: ['JFK', 'SEA', 'ORD', null].flatMap((origin) =>
        [-1.5, -0.5, 0, 0.5, 1.5].map((a) => anOrder({ origin, a })),
      ),
    });
    const seen = new Set<string>();
    for (const { score, label, class: name, threshold, slice } of predictions) {
      expect(threshold).toBe(slice === 'JFK' ? 0.3 : slice === 'SEA' ? 0.7 : 0.5);
      expect(label).toBe(score >= threshold ? 1 : 0);
      expect(name).toBe(label === 1 ? 'returned' : 'kept');
      seen.add(`${slice} ${label}`);
    }
    expect([...seen].map((each) => each.split(' ')[0])).toEqual(expect.arrayContaining(['JFK', 'SEA', 'null']));
    expect(new Set([...seen].map((each) => each.split(' ')[1]))).toEqual(new Set(['0', '1']));
  });

  test('says what is done to its scores', async () => {
    const { manifest } = await getVersion(database.db, MODEL, version);
    const response = await node.app.inject({ url: `/v1/models/${MODEL}` });
    const { versions } = response.json<{ versions: { version: number }[] }>();
    const { calibration, classes, slices, threshold } = manifest;
    expect(versions.find((each) => each.version === version)).toMatchObject({
      calibration: calibrationText(calibration!),
      classes,
      slices,
      threshold,
    });
    // names and thresholds are the model's, whoever answers; a rule has no calibration
    const rule = versions.find((each) => each.version === 0);
    expect(rule).toMatchObject({ classes, slices, threshold, calibration: null });
  });

  test('answers plainly when no explanation is asked for', async () => {
    const { predictions } = await ask(anOrder(), { explain: false });
    expect(Object.keys(predictions[0]!)).toEqual([
      'predictionId',
      'score',
      'label',
      'class',
      'version',
      'arm',
      'rung',
      'epoch',
      'asOf',
    ]);
  });

  test('is answered for a tester by the version they name, which is no evidence', async () => {
    const epoch = await route({});
    const authorization = `Bearer ${tokens.engineer}`;
    const asked = await ask(anOrder({ id: 'tested' }), { headers: { authorization, 'x-serin-version': '0' } });
    expect(asked.predictions[0]).toMatchObject({ version: 0, arm: 'override', predictionId: 'tested' });
    const arm = await ask(anOrder({ id: 'tested-arm' }), { headers: { authorization, 'x-serin-arm': 'champion' } });
    expect(arm.predictions[0]).toMatchObject({ version, arm: 'override' });
    await ask(anOrder({ id: 'served' }));
    await node.flush();
    const tallies = await database.db.selectFrom('arm_tally').selectAll().where('epoch', '=', epoch).execute();
    expect(tallies.map(({ arm: each, requests }) => [each, requests])).toEqual([['champion', 1]]);
    expect(await listPredictions(database.db, 'tested')).toMatchObject([{ arm: 'override', version: 0 }]);
  });

  test('is asked on the command line, by version and with the reasons', async () => {
    await node.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = node.app.server.address() as AddressInfo;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        'dist/cli/main.js',
        'predict',
        MODEL,
        '--by',
        `v${version}`,
        '--explain',
        ...fieldsOf(anOrder({ origin: 'JFK' })),
      ],
      {
        env: {
          ...process.env,
          SERIN_HOME: folder,
          SERIN_INFERENCE_URL: `http://127.0.0.1:${port}`,
          SERIN_TOKEN: tokens.engineer,
        },
      },
    );
    const lines = Object.fromEntries(
      stdout
        .trim()
        .split('\n')
        .map((line) => line.split(/: +/) as [string, string]),
    );
    expect(lines).toMatchObject({
      threshold: '0.3 (of JFK)',
      label: expect.stringMatching(/^[01] \((kept|returned)\)$/) as string,
      'answered by': `v${version} (override)`,
      'raw score': expect.stringMatching(/^0\.\d+$/) as string,
      linear: '0.2',
    });
  });

  test.each([
    [401, 'UNAUTHENTICATED', () => ({})],
    [401, 'UNAUTHENTICATED', () => ({ authorization: 'Bearer made-up' })],
    [403, 'FORBIDDEN', () => ({ authorization: `Bearer ${tokens.viewer}` })],
  ])('refuses to be chosen with %i %s', async (status, code, headers) => {
    const refused = await ask(anOrder(), { headers: { 'x-serin-version': '0', ...headers() } });
    expect(refused).toMatchObject({ status, problem: { type: expect.stringContaining(code) as string } });
  });

  test('names what a tester may ask for when they ask for something else', async () => {
    const headers = { authorization: `Bearer ${tokens.engineer}`, 'x-serin-version': '77' };
    expect(await ask(anOrder(), { headers })).toMatchObject({
      status: 404,
      problem: { detail: `version 77 of "${MODEL}" is not loaded here; ${version}, 0 are` },
    });
  });

  test('is answered for a tester as canary, before any unit is assigned to it', async () => {
    const standing = await getRoute(database.db, MODEL);
    await route({ champion: 0, canary: version, canaryWeight: 0 });
    const headers = { authorization: `Bearer ${tokens.engineer}`, 'x-serin-arm': 'canary' };
    const asked = await ask({ instances: [anOrder(), anOrder()] }, { headers });
    expect(asked.predictions).toMatchObject([
      { version, arm: 'override', rung: 'canary' },
      { version, arm: 'override', rung: 'canary' },
    ]);
    expect((await ask(anOrder())).predictions[0]).toMatchObject({ version: 0, arm: 'champion' });
    await route({ champion: standing.champion, canary: null, canaryWeight: 0 });
    expect(await ask(anOrder(), { headers })).toMatchObject({
      status: 404,
      problem: { detail: `"${MODEL}" has no canary now` },
    });
  });

  test('a token is known for half a minute, not looked up for each request', async () => {
    const token = await createToken(database.db, { principal: 'eve', roles: ['operator'], at: NOW });
    const headers = { authorization: `Bearer ${token}`, 'x-serin-version': '0' };
    expect((await ask(anOrder(), { headers })).status).toBe(200);
    await revokeTokens(database.db, { principal: 'eve', at: NOW });
    // known for half a minute
    expect((await ask(anOrder(), { headers })).status).toBe(200);
  });
});

test.each([
  [{ a: '0.2' }, 'a', 'the field "a" is "0.2": a finite number'],
  [{ customer: 1.5 }, 'customer', 'the field "customer" is 1.5: a whole number'],
  [{ origin: 7 }, 'origin', 'the field "origin" is 7: text'],
  [{ b: undefined }, 'b', 'the field "b" is missing: the field is required'],
  [{ orign: 'SEA' }, 'orign', 'orign is "SEA": is not a field of'],
  [{ asOf: '2026-01-01T00:00:00' }, 'asOf', 'a time needs Z or an offset'],
])('%j is a 400 that names the field', async (overrides, field, detail) => {
  const { status, problem } = await ask({ instances: [anOrder(), anOrder(overrides)] });
  expect([status, problem.field]).toEqual([400, `instances/1/${field}`]);
  expect(problem.detail).toContain(detail);
});

describe('an instant that is asked for', () => {
  const at = (hoursAgo: number): number => NOW - hoursAgo * MICROS_PER_HOUR;

  beforeAll(async () => {
    await route({ champion: 0, lastKnownGood: 0 });
    const views = [compileViewOf(spec, 'activity@1')];
    const event = (seq: number, eventAt: number, amount: number) => ({
      seq,
      eventAt,
      availableAt: eventAt + 60_000_000,
      clockAt: null,
      row: { at: eventAt, customer: 1, origin: 'SEA', amount, returned: false },
    });
    const events = [event(1, at(10), 10), event(2, at(5), 20), event(3, at(2), 30)];
    await applyEvents({ views, events, fromSeqExclusive: 0, toSeq: 3, store: features.store as never });
  });

  test.each([
    [11, 0, null],
    [9, 1, 10],
    [4, 2, 20],
    [1, 3, 30],
  ])('%d hours ago is answered by what was known then', async (hoursAgo, orders, amount) => {
    const { predictions } = await ask(anOrder({ asOf: formatTime(at(hoursAgo)) }));
    expect(predictions[0]).toMatchObject({
      version: 0,
      score: orders * 0.125,
      readAt: formatTime(at(hoursAgo)),
      features: { customer__orders__24h: { value: orders }, customer__amount: { value: amount } },
    });
  });

  test('the age of a value is that of the event behind it', async () => {
    const { predictions } = await ask(anOrder({ asOf: formatTime(at(4)) }));
    expect(predictions[0]!.features['customer__amount']).toEqual({ value: 20, status: 'present', ageSeconds: 3_600 });
    const unknown = await ask(anOrder({ customer: 99, asOf: formatTime(at(4)) }));
    expect(unknown.predictions[0]!.features).toEqual({
      customer__orders__24h: { value: 0, status: 'not_found', ageSeconds: null },
      customer__amount: { value: null, status: 'not_found', ageSeconds: null },
    });
  });

  test('before the fold point it cannot be told: an error that names the point, and no answer is counted', async () => {
    // the sender's clock of a push moves the fold point to an hour before it
    const views = [compileViewOf(spec, 'activity@1')];
    const row = { at: at(1), customer: 1, origin: 'SEA', amount: 40, returned: false };
    const event = { seq: 4, eventAt: at(1), availableAt: at(1), clockAt: at(2), row };
    await applyEvents({ views, events: [event], fromSeqExclusive: 3, toSeq: 4, store: features.store as never });

    const epoch = await route({});
    const refused = await ask(anOrder({ asOf: formatTime(at(9)) }));
    expect(refused).toMatchObject({
      status: 409,
      problem: {
        type: expect.stringContaining('AS_OF_UNREACHABLE') as string,
        foldedAt: formatTime(at(3)),
        detail: expect.stringContaining(formatTime(at(3))) as string,
      },
    });
    const many = await ask({ instances: [anOrder(), anOrder({ id: 'old', asOf: formatTime(EARLIER) })] });
    expect(many.problem).toMatchObject({ predictionId: 'old' });
    await node.flush();
    expect(await database.db.selectFrom('arm_tally').selectAll().where('epoch', '=', epoch).execute()).toEqual([]);

    expect((await ask(anOrder({ asOf: formatTime(at(2.5)) }))).status).toBe(200);
    // whoever names no instant means the newest state
    expect((await ask(anOrder())).status).toBe(200);
  });
});
