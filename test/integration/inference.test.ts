import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openSeverableLink } from '../../bench/routed/severable-link.ts';
import { applyProject, projectDigest } from '../../db/apply-project.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { getRouteReach } from '../../db/nodes.ts';
import { registerVersion } from '../../db/registry.ts';
import { getRoute, moveRoute, type RouteTarget } from '../../db/routes.ts';
import { PROJECT_FORMAT, type ProjectSpec } from '../../domain/project/spec.ts';
import type { GoldenRows } from '../../domain/registry/golden-rows.ts';
import { ruleManifest } from '../../domain/registry/rule-manifest.ts';
import { linearOnnx } from '../../inference/model/onnx-fixture.ts';
import type { VersionSource } from '../../inference/model/version-loader.ts';
import { startRoutedNode } from '../../inference/process/routed-node.ts';
import type { ServingNode } from '../../inference/process/serving-node.ts';
import { anInput, aStore } from '../../inference/scoring/serving-fixture.ts';
import { openBlobStore } from '../../platform/file-blob-store.ts';
import { createLogger } from '../../platform/logger.ts';
import { eventually } from '../setup/eventually.ts';
import { createTestDatabase } from '../setup/test-database.ts';

const logger = createLogger({ service: 'inference', node: 'test', level: 'silent' });
/** As all instants of the tier's answers are. */
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
const SPEC = {
  format: PROJECT_FORMAT,
  name: 'flights',
  description: '',
  sources: [],
  entities: [],
  views: [],
  spines: [],
  labels: [],
  featureSets: [
    {
      name: 'features',
      version: 1,
      description: '',
      request: [],
      views: [],
      features: anInput.columns.map((name) => ({
        kind: 'derived',
        name,
        expression: { op: 'literal', value: 0, type: 'f64' },
        description: '',
      })),
    },
  ],
  models: [
    {
      name: 'delay',
      threshold: 0.5,
      latencyBudgetMsP99: 1_000,
      rule: { featureSet: 'features@1', expression: { op: 'literal', value: 0.125, type: 'f64' } },
      logSampleRate: 0,
    },
  ],
} as unknown as ProjectSpec;

let folder: string;
let database: Database;
let databaseUrl: string;
let nodes: ServingNode[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-inference-'));
  databaseUrl = await createTestDatabase();
  database = connectDatabase(databaseUrl, { name: 'test', max: 4 });
  nodes = [];
  await applyProject(database.db, { spec: SPEC, bundleSha256: null, by: 'test', at: 1 });
});
afterEach(async () => {
  await Promise.all(nodes.map((node) => node.close()));
  await database.close();
  await rm(folder, { recursive: true });
});

/** Version `v` answers x + v for a row with `y` and `stored` 0. */
async function registerLinear(
  version: number,
  bytes = linearOnnx({ weights: [1, 0, 0], bias: version }),
  goldens?: GoldenRows,
): Promise<void> {
  const modelFile = await blobs().put(bytes);
  const rule = ruleManifest(SPEC, SPEC.models[0]!, { projectDigest: projectDigest(SPEC), author: 'test' });
  await registerVersion(database.db, {
    at: 1,
    manifest: { ...rule, version, kind: 'onnx', modelFile, runId: `run-${version}`, ...(goldens && { goldens }) },
    sha256: `v${version}`,
  });
}

const blobs = () => openBlobStore(pathToFileURL(folder).href);

interface NodeOverrides {
  readonly nodeId?: string;
  readonly url?: string;
  readonly modelMemoryMib?: number;
  readonly wrapSource?: (source: VersionSource) => VersionSource;
}

async function startNode({
  nodeId = 'node-1',
  url = databaseUrl,
  modelMemoryMib = 0,
  wrapSource,
}: NodeOverrides = {}): Promise<ServingNode> {
  const node = await startRoutedNode({
    config: {
      databaseUrl: url,
      blobUrl: pathToFileURL(folder).href,
      nodeId,
      inferenceHost: '127.0.0.1',
      inferencePort: 0,
      inferenceModelMemoryMib: modelMemoryMib,
    },
    logger,
    inputOf: () => anInput,
    store: aStore({ k: 0 }),
    ...(wrapSource ? { wrapSource } : {}),
  });
  nodes.push(node);
  return node;
}

async function move(target: Partial<RouteTarget>): Promise<number> {
  const route = await getRoute(database.db, 'delay');
  const next = { ...route, ...target };
  const { epoch } = await moveRoute(database.db, {
    model: 'delay',
    expectedEpoch: route.epoch,
    target: next,
    at: 2,
    reason: 'test',
  });
  return epoch;
}

async function everyNodeRoutesBy(epoch: number): Promise<void> {
  await eventually('every node has acknowledged', async () => {
    const { live, behind } = await getRouteReach(database.db, 'delay', epoch);
    if (live.length === 0 || behind.length > 0)
      throw new Error(`behind epoch ${epoch}: ${behind.join(', ') || 'no live node'}`);
    return true;
  });
}

interface Prediction {
  readonly predictionId: string;
  readonly score: number;
  readonly version: number;
  readonly arm: string;
  readonly rung: string;
  readonly epoch: number;
}

async function predict(node: ServingNode, body: object): Promise<{ status: number; predictions: Prediction[] }> {
  const response = await node.app.inject({ method: 'POST', url: '/v1/models/delay/predict', payload: body });
  return { status: response.statusCode, predictions: response.json<{ predictions: Prediction[] }>().predictions ?? [] };
}

test('the first answers come from the rule; a new champion takes over by its route, and says so', async () => {
  await registerLinear(1);
  const node = await startNode();
  expect((await predict(node, { x: 4, y: 0, key: 'k', id: 'a' })).predictions).toEqual([
    expect.objectContaining({
      predictionId: 'a',
      score: 0.125,
      label: 0,
      version: 0,
      arm: 'champion',
      rung: 'champion',
      epoch: 1,
    }),
  ]);
  await everyNodeRoutesBy(await move({ champion: 1 }));
  expect((await predict(node, { x: 4, y: 0, key: 'k' })).predictions).toEqual([
    expect.objectContaining({ score: 5, label: 1, version: 1, epoch: 2 }),
  ]);
  expect((await node.app.inject('/v1/models/delay')).json()).toMatchObject({
    route: { epoch: 2, champion: 1, updatedAt: expect.stringMatching(INSTANT) },
    versions: [{ version: 1 }, { version: 0 }],
  });
  const infer = { inputs: [{ name: 'features', shape: [1, 3], datatype: 'FP32', data: [2, 0, 0] }] };
  expect(
    (await node.app.inject({ method: 'POST', url: '/v2/models/delay/infer', payload: infer })).json(),
  ).toMatchObject({
    model_version: '1',
    outputs: [{ data: [3] }],
  });
});

test('50 route changes under 1,000 requests on two nodes: none fails, none is wrong, none is old after the acknowledgement', async () => {
  await registerLinear(1);
  await registerLinear(2);
  const both = await Promise.all([startNode({ nodeId: 'node-1' }), startNode({ nodeId: 'node-2' })]);
  let acknowledged = 1;
  let sent = 0;
  let running = true;
  const wrong: unknown[] = [];

  async function client(node: ServingNode): Promise<void> {
    while (running || sent < 1_000) {
      const x = sent++ % 64;
      const floor = acknowledged;
      const { status, predictions } = await predict(node, { x, y: 0, key: 'k' });
      const [answer] = predictions;
      const golden = answer && answer.version === 0 ? 0.125 : x + (answer?.version ?? NaN);
      // even epochs have champion 2, odd ones from 3 on champion 1, the first one the rule
      const versionOfEpoch = answer && (answer.epoch === 1 ? 0 : answer.epoch % 2 === 0 ? 2 : 1);
      if (status !== 200 || answer?.score !== golden || answer.version !== versionOfEpoch || answer.epoch < floor) {
        wrong.push({ status, answer, x, floor });
      }
    }
  }

  const clients = both.flatMap((node) => Array.from({ length: 4 }, () => client(node)));
  for (let flip = 0; flip < 50; flip++) {
    const epoch = await move({ champion: flip % 2 === 0 ? 2 : 1, lastKnownGood: 1 });
    await everyNodeRoutesBy(epoch);
    acknowledged = epoch;
  }
  running = false;
  await Promise.all(clients);
  expect(wrong.slice(0, 3)).toEqual([]);
  expect(wrong).toHaveLength(0);
  expect(sent).toBeGreaterThanOrEqual(1_000);
});

test('a canary that throws costs no answer: its errors are tallied on its arm and its answers logged', async () => {
  await registerLinear(1);
  await registerLinear(2);
  await move({ champion: 1, lastKnownGood: 1, canary: 2, canaryWeight: 10_000 });
  const node = await startNode({
    wrapSource: (source) => ({
      async load(model, version) {
        const loaded = await source.load(model, version);
        if (version !== 2) return loaded;
        const score = () => Promise.reject(new Error('the session is gone'));
        return { ...loaded, served: { ...loaded.served, scorer: { ...loaded.served.scorer, score } } };
      },
    }),
  });
  const { status, predictions } = await predict(node, {
    instances: [
      { id: 'a', unit: 'u', x: 1, y: 0, key: 'k' },
      { id: 'b', unit: 'u', x: 2, y: 0, key: 'k' },
    ],
  });
  expect(status).toBe(200);
  expect(predictions.map(({ score, version, arm, rung }) => [score, version, arm, rung])).toEqual([
    [2, 1, 'canary', 'champion'],
    [3, 1, 'canary', 'champion'],
  ]);
  await node.flush();
  expect(
    await database.db
      .selectFrom('arm_tally')
      .select(['node_id', 'arm', 'version', 'requests', 'units', 'errors', 'fallbacks'])
      .execute(),
  ).toEqual([{ node_id: 'node-1', arm: 'canary', version: 2, requests: 2, units: 1, errors: 2, fallbacks: 2 }]);
  expect((await node.app.inject('/v1/predictions/a')).json()).toMatchObject({
    answers: [
      {
        arm: 'canary',
        rung: 'champion',
        version: 1,
        score: 2,
        features: [1, 0, 0],
        request: { x: 1, key: 'k' },
        error: 'v2: the session is gone',
        answeredAt: expect.stringMatching(INSTANT),
        known: { readAt: expect.stringMatching(INSTANT) },
      },
    ],
  });
});

test('a shadow is paired with the champion in tallies and log', async () => {
  await registerLinear(1);
  await move({ shadow: 1 });
  const node = await startNode();
  await predict(node, { id: 'a', x: 4, y: 0, key: 'k' });
  await expect
    .poll(async () => {
      await node.flush();
      return database.db.selectFrom('arm_tally').selectAll().where('arm', '=', 'shadow').execute();
    })
    .toEqual([expect.objectContaining({ version: 1, pairs: 1, flips: 1, difference_sum: 4.875, errors: 0 })]);
  expect((await node.app.inject('/v1/predictions/a')).json()).toMatchObject({
    answers: [{ arm: 'shadow', version: 1, score: 5 }],
  });
});

test('a version that does not load is reported, not acknowledged, and leaves the traffic where it is', async () => {
  await registerLinear(1, Buffer.from('no model'));
  const node = await startNode();
  const epoch = await move({ canary: 1, canaryWeight: 500 });
  await node.refreshRoutes();
  expect(await getRouteReach(database.db, 'delay', epoch)).toEqual({ live: ['node-1'], behind: ['node-1'] });
  const ready = await node.app.inject('/health/ready');
  expect(ready.statusCode).toBe(200);
  expect(ready.json()).toMatchObject({
    checks: { delay: expect.stringContaining('ONNX Runtime does not load it') as string },
  });
  expect((await predict(node, { x: 1, y: 0, key: 'k' })).predictions).toEqual([
    expect.objectContaining({ epoch: 1, version: 0 }),
  ]);
});

test('a version that answers its golden rows otherwise is not taken: the route stays, the failure names row, expected and got', async () => {
  const features = [
    [1, 0, 0],
    [2, null, 0],
  ];
  await registerLinear(1, undefined, { features, scores: [2, null] });
  await registerLinear(2, undefined, { features, scores: [3, 4] });
  const node = await startNode();
  await everyNodeRoutesBy(await move({ champion: 1, lastKnownGood: 1 }));
  expect((await node.app.inject('/v1/models/delay')).json()).toMatchObject({
    versions: [
      { version: 1, loaded: { goldenRows: 2 } },
      { version: 0, loaded: null },
    ],
  });
  const epoch = await move({ champion: 2 });
  await node.refreshRoutes();
  expect(await getRouteReach(database.db, 'delay', epoch)).toEqual({ live: ['node-1'], behind: ['node-1'] });
  expect((await node.app.inject('/v1/models/delay')).json()).toMatchObject({
    route: { champion: 1 },
    notTakenOver: { epoch, reason: 'delay v2: golden row 1: "score" is NaN, expected 4' },
  });
  expect((await predict(node, { x: 1, y: 0, key: 'k' })).predictions).toEqual([
    expect.objectContaining({ score: 2, version: 1 }),
  ]);
});

test('with a memory budget a version without a route answers by its number, after a 503 while it is loaded', async () => {
  await registerLinear(1);
  await registerLinear(2);
  const node = await startNode({ modelMemoryMib: 64 });
  await everyNodeRoutesBy(await move({ champion: 1 }));
  const infer = (version: number) =>
    node.app.inject({
      method: 'POST',
      url: `/v2/models/delay/versions/${version}/infer`,
      payload: { inputs: [{ name: 'features', shape: [1, 3], datatype: 'FP32', data: [5, 0, 0] }] },
    });
  const first = await infer(2);
  expect(first.statusCode).toBe(503);
  expect(first.headers['retry-after']).toBe('1');
  expect(first.json()).toEqual({ error: 'version 2 of "delay" is being loaded' });
  await expect.poll(async () => (await infer(2)).json()).toMatchObject({ outputs: [{ data: [7] }] });
  expect((await node.app.inject('/metrics')).body).toMatch(/serin_inference_model_bytes\{[^}]*version="2"[^}]*\} \d+/);
  await expect.poll(async () => (await infer(9)).statusCode).toBe(404);
});

test('without PostgreSQL answers go on from memory; what was counted meanwhile arrives when it is back', async () => {
  const link = await openSeverableLink(databaseUrl);
  try {
    const node = await startNode({ url: link.url });
    await link.sever();
    await node.refreshRoutes();
    expect((await predict(node, { x: 1, y: 0, key: 'k' })).predictions).toEqual([
      expect.objectContaining({ score: 0.125, epoch: 1 }),
    ]);
    await node.flush();
    expect((await node.app.inject('/metrics')).body).toMatch(
      /serin_inference_route_staleness_seconds\{[^}]*\} [0-9.]+/,
    );
    expect(await database.db.selectFrom('arm_tally').selectAll().execute()).toEqual([]);
    await link.restore();
    await expect
      .poll(async () => {
        await node.flush();
        return database.db.selectFrom('arm_tally').select('requests').execute();
      })
      .toEqual([{ requests: 1 }]);
  } finally {
    await Promise.all(nodes.splice(0).map((node) => node.close()));
    await link.sever();
  }
});
