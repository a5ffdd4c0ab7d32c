/** A project with a model and its fallback model, whose versions are made to fail in every way there is, asked over HTTP. */
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Pool } from 'undici';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { applyProject, projectDigest } from '../../db/apply-project.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { listAnsweringVersions } from '../../db/predictions.ts';
import { registerVersion } from '../../db/registry.ts';
import { getRoute, moveRoute } from '../../db/routes.ts';
import {
  column,
  featureSet,
  hours,
  label,
  model,
  project,
  source,
  spine,
  training,
} from '../../domain/project/authoring.ts';
import { ruleManifest } from '../../domain/registry/rule-manifest.ts';
import { linearOnnx } from '../../inference/model/onnx-fixture.ts';
import { type Features, openFeatures } from '../../inference/process/open-features.ts';
import { startRoutedNode } from '../../inference/process/routed-node.ts';
import type { ServingNode } from '../../inference/process/serving-node.ts';
import { openBlobStore } from '../../platform/file-blob-store.ts';
import { createLogger } from '../../platform/logger.ts';
import { createTestDatabase } from '../setup/test-database.ts';

const logger = createLogger({ service: 'inference', node: 'test', level: 'silent' });
/** Long, so that what works answers within it on a busy machine too; only what hangs is waited for so long. */
const TIMEOUT_MS = 2_000;
const NOW = Date.now() * 1_000;

const rides = source('rides', {
  description: '',
  owner: 'team',
  columns: { at: column.ts(), km: column.f64(), tip: column.f64({ nullable: true }) },
  eventAt: 'at',
  availableAt: (row) => row.at.plusMinutes(1),
  eventId: ['at'],
  freshnessSla: hours(1),
});
const request = { km: column.f64(), tip: column.f64() } as const;
const both = featureSet('both', {
  version: 1,
  description: '',
  request,
  views: {},
  derived: { km_now: (row) => row.request.km.times(1), tip_now: (row) => row.request.tip.times(1) },
});
const distance = featureSet('distance', {
  version: 1,
  description: '',
  request,
  views: {},
  derived: { km_now: (row) => row.request.km.times(1) },
});
const contract = {
  description: '',
  owner: 'team',
  riskTier: 'low',
  spine: spine('rides', {
    source: rides,
    asOf: (row) => row.at,
    request: (row) => ({ km: row.km, tip: row.tip.coalesce(0) }),
  }),
  label: label('long', { source: rides, of: (row) => row.km.ge(10), description: '' }),
  threshold: 0.5,
  latencyBudgetMsP99: 5_000,
  gates: [{ kind: 'schema' }],
  rollout: {
    stages: [{ weightPercent: 5, minDurationMs: 1, maxDurationMs: 2, minCanaryRequests: 1 }],
    guardrails: [{ metric: 'errors', margin: 0.01, direction: 'increase', required: true }],
  },
  monitors: [],
  logSampleRate: 0,
} as const;
const logistic = {
  trainer: { kind: 'logistic' },
  split: { trainFrom: '2001-01-01', testFrom: '2001-05-01', testTo: '2001-06-01' },
  seed: 1,
  description: '',
} as const;
const simple = model('simple', {
  ...contract,
  rule: { featureSet: distance, score: (row) => row.derived.km_now.div(32) },
  trainings: [training('logistic', { featureSet: distance, ...logistic })],
});
const precise = model('precise', {
  ...contract,
  rule: { featureSet: distance, score: (row) => row.derived.km_now.div(32) },
  trainings: [training('logistic', { featureSet: both, ...logistic })],
  serving: { timeoutMs: TIMEOUT_MS, mandatory: ['tip_now'], fallback: simple },
});
const spec = project('taxis', { description: '', models: [simple, precise] });

/** What happens to a version that is asked: `precise@2`; absent: it works. */
const faults = new Map<string, 'throws' | 'NaN' | 'hangs'>();
const EVERY_VERSION = ['precise@2', 'precise@1', 'simple@7'] as const;

let folder: string;
let database: Database;
let features: Features;
let node: ServingNode;
let http: Pool;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-ladder-'));
  const databaseUrl = await createTestDatabase();
  database = connectDatabase(databaseUrl, { name: 'test', max: 4 });
  await applyProject(database.db, { spec, bundleSha256: null, by: 'ada', at: NOW });
  // version v of either model answers km + v, of simple km + 100 + v
  await register('precise', 1, 1);
  await register('precise', 2, 2);
  await register('simple', 7, 107);
  await route('precise', 2, 1);
  await route('simple', 7, 0);
  features = openFeatures(databaseUrl);
});
afterAll(async () => {
  await features?.close();
  await database?.close();
  await rm(folder, { recursive: true, force: true });
});
afterEach(async () => {
  faults.clear();
  await http?.close();
  await node?.close();
});

async function register(name: string, version: number, bias: number): Promise<void> {
  const declared = spec.models.find((each) => each.name === name)!;
  const rule = ruleManifest(spec, declared, { projectDigest: projectDigest(spec), author: 'ada' });
  const trainedOn = name === 'precise' ? { featureSet: 'both@1', featureNames: ['km_now', 'tip_now'] } : rule;
  const modelFile = await openBlobStore(pathToFileURL(folder).href).put(
    linearOnnx({ weights: trainedOn.featureNames.map((_, i) => (i === 0 ? 1 : 0)), bias }),
  );
  const sha256 = `${name}-${version}`;
  const manifest = { ...rule, ...trainedOn, version, kind: 'onnx', modelFile, runId: sha256 } as const;
  await registerVersion(database.db, { at: NOW, manifest, sha256 });
}

async function route(name: string, champion: number, lastKnownGood: number): Promise<void> {
  const standing = await getRoute(database.db, name);
  await moveRoute(database.db, {
    model: name,
    expectedEpoch: standing.epoch,
    target: { ...standing, champion, lastKnownGood },
    at: NOW,
    reason: 'test',
  });
}

/** A node whose loaded sessions fail as `faults` says, behind a real socket. */
async function start(): Promise<void> {
  node = await startRoutedNode({
    config: {
      databaseUrl: database.pool.options.connectionString!,
      blobUrl: pathToFileURL(folder).href,
      nodeId: 'node-1',
      inferenceHost: '127.0.0.1',
      inferencePort: 0,
    },
    logger,
    inputOf: features.inputOf,
    store: features.store,
    wrapSource: (versions) => ({
      async load(name, version) {
        const loaded = await versions.load(name, version);
        const { scorer } = loaded.served;
        const score: typeof scorer.score = async (values, rows) => {
          const fault = faults.get(`${name}@${version}`);
          if (fault === 'throws') throw new Error('Non-zero status code returned while running a node');
          if (fault === 'NaN') return new Float64Array(rows).fill(NaN);
          if (fault === 'hangs') return new Promise(() => undefined);
          return scorer.score(values, rows);
        };
        const faulty = {
          ...scorer,
          featureCount: scorer.featureCount,
          offLoop: true,
          score,
          release: () => scorer.release(),
        };
        return { ...loaded, served: { ...loaded.served, scorer: faulty } };
      },
    }),
  });
  await node.app.listen({ host: '127.0.0.1', port: 0 });
  http = new Pool(`http://127.0.0.1:${(node.app.server.address() as AddressInfo).port}`, { connections: 16 });
}

interface Prediction {
  readonly predictionId: string;
  readonly score: number;
  readonly version: number;
  readonly answeredBy?: string;
  readonly rung: string;
  readonly reason?: string;
}

async function ask(id: string, fields: object = {}): Promise<{ status: number; prediction: Prediction }> {
  const { statusCode, body } = await http.request({
    method: 'POST',
    path: '/v1/models/precise/predict',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id, km: 4, tip: 1, ...fields }),
  });
  const { predictions } = (await body.json()) as { predictions?: Prediction[] };
  return { status: statusCode, prediction: predictions?.[0] as Prediction };
}

async function get(path: string): Promise<string> {
  const { body } = await http.request({ method: 'GET', path });
  return body.text();
}

test('with ONNX Runtime throwing on every call every request is answered, by the rule, and says so', async () => {
  await start();
  for (const version of EVERY_VERSION) faults.set(version, 'throws');
  const answers = await Promise.all(Array.from({ length: 600 }, (_, i) => ask(`r${i}`)));
  expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
  for (const { prediction } of answers) expect(prediction).toMatchObject({ score: 0.125, version: 0, rung: 'rule' });
  expect(new Set(answers.map(({ prediction }) => prediction.reason))).toEqual(new Set(['error', 'circuit_open']));

  const { models } = JSON.parse(await get('/v1/models')) as {
    models: { model: string; versions: { version: number; circuit: string | null }[] }[];
  };
  // left alone, or being tried again where the machine took its time
  const left = models.flatMap(({ model: name, versions }) =>
    versions
      .filter(({ circuit }) => circuit === 'open' || circuit === 'half_open')
      .map(({ version }) => `${name}@${version}`),
  );
  expect(left.toSorted()).toEqual(EVERY_VERSION.toSorted());
  const metrics = await get('/metrics');
  expect(metrics).toMatch(/serin_inference_circuit_open\{model="precise",version="2"[^}]*\} (1|0\.5)/);
  const counted = [
    ...metrics.matchAll(/serin_inference_fallbacks_total\{model="precise",reason="(\w+)"[^}]*\} (\d+)/g),
  ];
  expect(counted.reduce((total, [, , count]) => total + Number(count), 0)).toBe(600);

  await node.flush();
  expect(JSON.parse(await get('/v1/predictions/r0'))).toMatchObject({
    answers: [
      {
        rung: 'rule',
        version: 0,
        reason: 'error',
        error: 'v2: Non-zero status code returned while running a node',
      },
    ],
  });
});

test('rung by rung: the last known good version, then the fallback model, then the rule', async () => {
  await start();
  expect((await ask('a')).prediction).toMatchObject({ score: 6, version: 2, rung: 'champion' });
  faults.set('precise@2', 'NaN');
  expect((await ask('b')).prediction).toMatchObject({
    score: 5,
    version: 1,
    rung: 'last_known_good',
    reason: 'not_finite',
  });
  faults.set('precise@1', 'throws');
  expect((await ask('c')).prediction).toMatchObject({
    score: 111,
    version: 7,
    answeredBy: 'simple',
    rung: 'fallback',
    reason: 'not_finite',
  });
  await node.flush();
  expect(JSON.parse(await get('/v1/predictions/c'))).toMatchObject({
    answers: [{ version: 7, servedModel: 'simple' }],
  });
  // what is held against a version's definitions is what it answered itself
  const window = { model: 'precise', from: 0, to: Number.MAX_SAFE_INTEGER };
  expect(await listAnsweringVersions(database.db, window)).not.toContain(7);

  faults.set('simple@7', 'throws');
  expect((await ask('d')).prediction).toMatchObject({ score: 0.125, version: 0, rung: 'rule' });
});

test('a request without a mandatory feature is answered by the fallback model, which does without', async () => {
  await start();
  expect((await ask('a', { tip: null })).prediction).toMatchObject({
    score: 111,
    version: 7,
    answeredBy: 'simple',
    rung: 'fallback',
    reason: 'missing_feature',
  });
});

test('versions that hang cost a request their time once; afterwards nobody waits for them', async () => {
  await start();
  faults.set('precise@2', 'hangs');
  expect((await ask('a')).prediction).toMatchObject({ score: 5, rung: 'last_known_good', reason: 'timeout' });
  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => ask(`b${i}`)));
  // not `timeout`: it was not asked, so nobody waited
  for (const { prediction } of answers)
    expect(prediction).toMatchObject({ rung: 'last_known_good', reason: 'circuit_open' });
});

test('a version that works again is taken back', async () => {
  await start();
  faults.set('precise@2', 'throws');
  await expect.poll(async () => (await ask('a')).prediction.reason).toBe('circuit_open');
  faults.clear();
  await expect.poll(async () => (await ask('b')).prediction.rung, { interval: 100 }).toBe('champion');
});
