/** Needs the compiled scoring thread and workflow bundle: `npm run build`. */
import { type ChildProcess, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Activities, createActivities } from '../../../activities/activities.ts';
import { loadProject } from '../../../cli/load-project.ts';
import { applyProject } from '../../../db/apply-project.ts';
import { bufferEvents } from '../../../db/ingest.ts';
import { registerVersion } from '../../../db/registry.ts';
import { getRoute, moveRoute } from '../../../db/routes.ts';
import { createSourceContract } from '../../../db/source-contracts.ts';
import { canonicalJson } from '../../../domain/canonical-json.ts';
import { compiledModule } from '../../../domain/compiled-module.ts';
import { formatTime } from '../../../domain/features/time-text.ts';
import { featureNames, type ProjectSpec, versioned } from '../../../domain/project/spec.ts';
import type { ModelVersionManifest } from '../../../domain/registry/manifest.ts';
import type { ScoreManifest, ScoreRequest } from '../../../domain/scoring/score-plan.ts';
import { MICROS_PER_HOUR } from '../../../domain/time.ts';
import { linearOnnx, stumpsOnnx } from '../../../inference/model/onnx-fixture.ts';
import { openFeatures } from '../../../inference/process/open-features.ts';
import { startRoutedNode } from '../../../inference/process/routed-node.ts';
import { openEventIndex } from '../../../platform/event-index.ts';
import { createLogger } from '../../../platform/logger.ts';
import type { materializeFeatures } from '../../../workflows/materialize-features.ts';
import { type ScoreBatchResult, TASK_QUEUE_CONTROL } from '../../../workflows/messages.ts';
import type { scoreBatch } from '../../../workflows/score-batch.ts';
import { eventually, within } from '../../setup/eventually.ts';
import { STORE_PATIENCE_MS } from '../../setup/served-project.ts';
import { createTestDatabase } from '../../setup/test-database.ts';
import { type FeatureWorld, openFeatureWorld } from './feature-world.ts';
import { type RunningWorkers, startTemporalFixture, type TemporalFixture } from './temporal-fixture.ts';

const MODEL = 'flight-delay';
const SET = 'delay_features@1';
/** 2001-05-01T00:00:00Z: the clock of the flights. */
const T0 = 988_675_200_000_000;
const QUARTER = MICROS_PER_HOUR / 4;
const FLIGHTS = 400;
const AIRPORTS = Array.from({ length: 4 }, (_, i) => `A${String.fromCharCode(65 + i)}X`);
const LONG_MS = 160_000;
/** Two whole batches, and Temporal's wait for the heartbeat of a worker that is gone. */
const KILLED_MS = 480_000;
const logger = createLogger({ service: 'test', node: 'test', level: 'silent' });

let temporal: TemporalFixture;
let databaseUrl: string;
let dir: string;
let world: FeatureWorld;
let spec: ProjectSpec;
let digest: string;
let workers: RunningWorkers | undefined;
let child: ChildProcess | undefined;
let runs = 0;

/** What is asked about: airports that were seen and some that were not, instants between and beyond the flights. */
const QUESTIONS = Array.from({ length: 90 }, (_, i) => ({
  id: `q${i}`,
  origin: i % 17 === 3 ? 'NEW' : AIRPORTS[(i * 5) % AIRPORTS.length]!,
  destination: i % 23 === 4 ? null : AIRPORTS[(i * 7 + 1) % AIRPORTS.length]!,
  distance: i % 19 === 5 ? null : 100 + ((i * 37) % 900),
  asOf: T0 + ((i * 61) % (FLIGHTS + 40)) * QUARTER + i,
}));

beforeAll(async () => {
  temporal = await startTemporalFixture();
  databaseUrl = await createTestDatabase();
  dir = await mkdtemp(join(tmpdir(), 'serin-scoring-'));
  world = openFeatureWorld(databaseUrl, dir);
  ({ spec } = await loadProject('examples/flights/project.ts'));
  ({ digest } = await applyProject(world.database.db, { spec, bundleSha256: null, by: 'tests', at: 1 }));
  workers = await temporal.startWorkers(world.activities);
  await pushFlights();
  const views = spec.featureSets.find((each) => versioned(each) === SET)!.views.map(({ view }) => view);
  const built = await temporal.client.workflow.start<typeof materializeFeatures>('materializeFeatures', {
    workflowId: 'materialize/all',
    taskQueue: TASK_QUEUE_CONTROL,
    args: [{ project: spec.name, foldAt: T0, views }],
  });
  await within('the views are built', built.result(), LONG_MS);
  await register(1, stumpsOnnx({ width: width(), stumps: someStumps() }));
  await register(
    2,
    linearOnnx({ weights: Array.from({ length: width() }, (_, i) => 0.01 * (i + 1) * (-1) ** i), bias: 0.1 }),
  );
  await workers.stop();
});
afterEach(async () => {
  child?.kill('SIGKILL');
  child = undefined;
  await workers?.stop();
  workers = undefined;
});
afterAll(async () => {
  await temporal.stop();
  await world.database.close();
  await rm(dir, { recursive: true, force: true });
});

const names = (): readonly string[] => featureNames(spec.featureSets.find((each) => versioned(each) === SET)!);
const width = (): number => names().length;

function someStumps() {
  return Array.from(
    { length: 40 },
    (_, i) => [i % width(), ((i * 13) % 37) - 3, 0.11 - 0.013 * i, -0.07 + 0.011 * i, i % 3 === 0] as const,
  );
}

/** Pushed, so that they are in no file until something needs the log. */
async function pushFlights(): Promise<void> {
  const source = spec.sources.find(({ name }) => name === 'flights')!;
  const contract = createSourceContract(source, []);
  const index = openEventIndex(world.blobs);
  const admitted = Array.from({ length: FLIGHTS }, (_, i) => {
    const [origin, destination] = [AIRPORTS[i % AIRPORTS.length]!, AIRPORTS[(i + 1 + (i % 3)) % AIRPORTS.length]!];
    const date = new Date((T0 + i * QUARTER) / 1_000).toISOString();
    const flight = { date, delay: i % 3 === 0 ? 20 + (i % 50) : -5, distance: 100 + i, origin, destination };
    const check = contract.admit(flight, T0 + i * QUARTER);
    if (!check.ok) throw new Error(JSON.stringify(check.reasons));
    return check.event;
  });
  await world.database.db.transaction().execute((tx) => bufferEvents(tx, 'flights', admitted, index));
  index.close();
}

function withThreads(datasetThreads: number): Activities {
  const { database, blobs, store } = world;
  return createActivities({
    db: database.db,
    pool: database.pool,
    blobs,
    onlineStore: store,
    config: { workDir: dir, duckdbMemory: '900MB', duckdbThreads: 1, datasetThreads },
    logger,
    now: () => Date.now() * 1_000,
  });
}

async function register(version: number, model: Uint8Array): Promise<void> {
  const modelFile = await world.blobs.put(model);
  const manifest: ModelVersionManifest = {
    model: MODEL,
    version,
    kind: 'onnx',
    project: spec.name,
    projectDigest: digest,
    featureSet: SET,
    featureNames: names(),
    modelFile,
    threshold: 0.5,
    ...(version === 1 && {
      calibration: { method: 'platt', slope: 1.3, intercept: -0.2, rows: 100 } as const,
      classes: ['on time', 'late'] as const,
      slices: { by: 'origin', thresholds: { AAX: 0.1, ABX: 0.9 } },
    }),
    training: 'boosted',
    dataset: null,
    runId: `run-${version}`,
    evaluation: null,
    gateReportSha256: null,
    author: 'tests',
  };
  await registerVersion(world.database.db, {
    manifest,
    sha256: createHash('sha256').update(canonicalJson(manifest)).digest('hex'),
    at: 1,
  });
}

async function sql(statement: string): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const result = await connection.run(statement);
  const rows = await result.getRowObjectsJS();
  connection.closeSync();
  instance.closeSync();
  return rows;
}

/** The questions as Parquet, `copies` times over in `files` files. */
async function questionFiles(name: string, { copies = 1, files = 1 } = {}): Promise<string> {
  const folder = join(dir, name);
  await mkdir(folder, { recursive: true });
  const lines = join(folder, 'questions.jsonl');
  await writeFile(lines, QUESTIONS.map((question) => `${JSON.stringify(question)}\n`).join(''));
  for (let file = 0; file < files; file++) {
    await sql(`COPY (
      SELECT id || '/' || copy AS id, origin, destination, distance, make_timestamp("asOf") AS asked_at
      FROM read_json('${lines}'), range(${copies}) copies(copy) ORDER BY copy, CAST(substr(id, 2) AS INT)
    ) TO '${join(folder, `in-${file}.parquet`)}' (FORMAT parquet, ROW_GROUP_SIZE 2048)`);
  }
  return join(folder, '*.parquet');
}

async function start(request: ScoreRequest, partRows?: number) {
  return temporal.client.workflow.start<typeof scoreBatch>('scoreBatch', {
    workflowId: `score/test-${(runs += 1)}`,
    taskQueue: TASK_QUEUE_CONTROL,
    args: [{ request, ...(partRows !== undefined && { partRows }) }],
  });
}

async function score(request: ScoreRequest, partRows?: number): Promise<ScoreBatchResult> {
  return within('the batch is scored', (await start(request, partRows)).result(), LONG_MS);
}

const ofQuestions = (input: string, output: string, more: Partial<ScoreRequest> = {}): ScoreRequest => ({
  model: MODEL,
  version: 1,
  input,
  output: join(dir, output),
  asOf: { kind: 'column', column: 'asked_at' },
  featuresReady: false,
  ...more,
});

const readOutput = (output: string): Promise<Record<string, unknown>[]> =>
  sql(`SELECT * FROM read_parquet('${join(dir, output, 'part-*.parquet')}') ORDER BY filename, file_row_number`);

async function filesOf(output: string): Promise<Record<string, string>> {
  const found = await readdir(join(dir, output));
  const digests = found.map(
    async (name) =>
      [
        name,
        createHash('sha256')
          .update(await readFile(join(dir, output, name)))
          .digest('hex'),
      ] as const,
  );
  return Object.fromEntries(await Promise.all(digests));
}

const bits = (value: unknown): bigint | null =>
  value === null ? null : new BigUint64Array(Float64Array.of(value as number).buffer)[0]!;

test.each([
  { version: 1, what: 'trees, calibrated, with thresholds by origin' },
  { version: 2, what: 'a linear model in ONNX Runtime' },
  { version: 0, what: 'the rule' },
])('a batch gives the very bits of the online answers for the same instants: $what', async ({ version }) => {
  const { db } = world.database;
  const route = await getRoute(db, MODEL);
  await moveRoute(db, {
    model: MODEL,
    expectedEpoch: route.epoch,
    target: { ...route, champion: version, lastKnownGood: version },
    at: 2,
    reason: 'test',
  });
  const features = openFeatures(databaseUrl, STORE_PATIENCE_MS);
  const node = await startRoutedNode({
    config: {
      databaseUrl,
      blobUrl: pathToFileURL(join(dir, 'blobs')).href,
      nodeId: 'node-1',
      inferenceHost: '127.0.0.1',
      inferencePort: 0,
    },
    logger,
    ...features,
  });
  let answers: { score: number; label: number; class?: string; version: number; rung: string }[];
  try {
    const response = await node.app.inject({
      method: 'POST',
      url: `/v1/models/${MODEL}/predict`,
      payload: {
        instances: QUESTIONS.map(({ id: _, asOf, ...fields }) => ({ ...fields, asOf: formatTime(asOf) })),
      },
    });
    expect(response.statusCode, response.body).toBe(200);
    answers = response.json<{ predictions: typeof answers }>().predictions;
  } finally {
    await node.close();
    await features.close();
  }
  // the linear model has no number for a row with a missing feature: online the rule answers, a batch says so
  const own = answers.map((answer) => (answer.version === version ? answer : null));
  const answered = own.filter((answer) => answer !== null);
  expect(answered.length).toBeGreaterThan(20);

  workers = await temporal.startWorkers(world.activities);
  const input = await questionFiles(`online-${version}`);
  const result = await score(ofQuestions(input, `scores-${version}`, { version }), 40);
  const unscored = QUESTIONS.length - answered.length;
  expect(result).toMatchObject({ version, rows: QUESTIONS.length, unscored, files: 3, alreadyThere: false });
  const rows = await readOutput(`scores-${version}`);
  expect(rows.map(({ id }) => id)).toEqual(QUESTIONS.map(({ id }) => `${id}/0`));
  expect(rows.map(({ as_of: asOf }) => Number(asOf))).toEqual(QUESTIONS.map(({ asOf }) => asOf));
  expect(rows.map(({ score: given }) => bits(given))).toEqual(
    own.map((answer) => bits(answer === null ? null : answer.score)),
  );
  expect(rows.map(({ label }) => label)).toEqual(own.map((answer) => answer && answer.label));
  if (version === 1) expect(rows.map((row) => row['class'])).toEqual(answers.map((answer) => answer.class));
  expect(result.positives).toBe(answered.filter(({ label }) => label === 1).length);
  expect(new Set(rows.map(({ prediction_id: id }) => id)).size).toBe(rows.length);
  if (version > 0) expect(new Set(rows.map(({ score: given }) => given)).size).toBeGreaterThan(20);
});

test('ready features give the scores of features from the log', async () => {
  workers = await temporal.startWorkers(world.activities);
  const input = await questionFiles('joined');
  await score(ofQuestions(input, 'joined-scores', { version: 2 }));
  // the features of the same rows, as a caller might have stored them
  const columns = names().map(
    (name, i) => `CAST(${i} + length(id) * 3 AS ${i % 2 === 0 ? 'FLOAT' : 'INTEGER'}) AS "${name}"`,
  );
  const ready = join(dir, 'ready.parquet');
  await sql(
    `COPY (SELECT id, origin, ${columns.join(', ')} FROM read_parquet('${input}')) TO '${ready}' (FORMAT parquet)`,
  );
  const { asOf: _, ...request } = ofQuestions(ready, 'ready-scores', { version: 2, featuresReady: true });
  expect(await score(request)).toMatchObject({ rows: QUESTIONS.length, files: 1 });
  const rows = await readOutput('ready-scores');
  expect(Object.keys(rows[0]!)).toEqual(['id', 'origin', 'prediction_id', 'as_of', 'version', 'score', 'label']);
  for (const { id, score: given } of rows) {
    const weighed = names().map((_, i) => 0.01 * (i + 1) * (-1) ** i * (i + (id as string).length * 3));
    expect(given).toBeCloseTo(
      weighed.reduce((sum, each) => sum + each, 0.1),
      4,
    );
  }
});

test(
  'a worker that is killed between two parts leaves the bytes of a run without it, and no row twice',
  async () => {
    const input = await questionFiles('killed', { copies: 40, files: 3 });
    // several parts at the same time, and one after the other
    const whole = await temporal.startWorkers(withThreads(3));
    await score(ofQuestions(input, 'not-killed'), 1_800);
    await whole.stop();

    // this process runs the workflow and short activities, the other the long ones
    child = fork(fileURLToPath(compiledModule(import.meta.url, './feature-worker-process.ts')), [
      temporal.address,
      databaseUrl,
      dir,
    ]);
    await within('the first worker is ready', once(child, 'message'), LONG_MS);
    const control = await temporal.startWorkers(world.activities, [TASK_QUEUE_CONTROL]);
    const handle = await start(ofQuestions(input, 'killed-scores'), 1_800);
    const partsDone = async (): Promise<number> => {
      const { events } = await handle.fetchHistory();
      const scheduled = new Set(
        events!.flatMap((event) =>
          event.activityTaskScheduledEventAttributes?.activityType?.name === 'scorePart' ? [String(event.eventId)] : [],
        ),
      );
      return events!.filter((event) =>
        scheduled.has(String(event.activityTaskCompletedEventAttributes?.scheduledEventId)),
      ).length;
    };
    const reached = await eventually(
      'some parts are scored',
      async () => (await partsDone()) >= 2 && partsDone(),
      LONG_MS,
    );
    const dead = once(child, 'exit');
    child.kill('SIGKILL');
    await within('the first worker is dead', dead);
    expect(reached).toBeLessThan(6);
    expect(await readdir(join(dir, 'killed-scores'))).toEqual([expect.stringMatching(/^\.serin-/)]);
    await control.stop();

    workers = await temporal.startWorkers(world.activities);
    const result = await within('the batch is scored', handle.result(), LONG_MS);
    expect(result).toMatchObject({ rows: QUESTIONS.length * 120, files: 6 });
    const [killed, whole2] = [await filesOf('killed-scores'), await filesOf('not-killed')];
    const { '_manifest.json': _, ...parts } = killed;
    const { '_manifest.json': __, ...expected } = whole2;
    expect(parts).toEqual(expected);
    const ids = await sql(`
    SELECT COUNT(*) AS rows, COUNT(DISTINCT prediction_id) AS ids, COUNT(DISTINCT id) AS questions
    FROM read_parquet('${join(dir, 'killed-scores', '*.parquet')}')`);
    expect(ids).toEqual([{ rows: 10_800n, ids: 10_800n, questions: 3_600n }]);
  },
  KILLED_MS,
);

test('the same request again finds its answer; another one does not write over it', async () => {
  workers = await temporal.startWorkers(world.activities);
  const input = await questionFiles('again');
  const request = ofQuestions(input, 'again-scores');
  await score(request);
  const before = await filesOf('again-scores');
  expect(await score(request)).toMatchObject({ rows: QUESTIONS.length, alreadyThere: true });
  await expect(score({ ...request, version: 2 })).rejects.toMatchObject({
    cause: { cause: { type: 'OUTPUT_EXISTS' } },
  });
  expect(await filesOf('again-scores')).toEqual(before);
  const manifest = JSON.parse(await readFile(join(dir, 'again-scores', '_manifest.json'), 'utf8')) as ScoreManifest;
  expect(manifest).toMatchObject({ model: MODEL, version: 1, rows: QUESTIONS.length, knownSeq: { flights: FLIGHTS } });
  for (const { name, sha256 } of manifest.files) expect(before[name]).toBe(sha256);
});

test('an input without rows gives a complete folder without parts', async () => {
  workers = await temporal.startWorkers(world.activities);
  const input = await questionFiles('none', { copies: 0 });
  expect(await score(ofQuestions(input, 'no-scores'))).toMatchObject({ rows: 0, files: 0 });
  expect(await readdir(join(dir, 'no-scores'))).toEqual(['_manifest.json']);
});

test('what does not fit is refused by name, and the folder is as it was', async () => {
  workers = await temporal.startWorkers(world.activities);
  const input = await questionFiles('refused');
  // a worker that was killed leaves its own
  const workFolders = (found: readonly string[]) => found.filter((name) => /^score-[0-9a-f]{8}-/.test(name));
  const standing = workFolders(await readdir(dir));
  const refused = async (request: ScoreRequest): Promise<{ type: string; message: string }> => {
    const error = await score(request).then(
      () => undefined,
      (caught: unknown) => caught as { cause: { cause: { type: string; message: string } } },
    );
    return error!.cause.cause;
  };
  expect(await refused(ofQuestions(join(dir, 'nothing-*.parquet'), 'r1'))).toMatchObject({ type: 'INPUT_INVALID' });
  const noColumn = await refused(ofQuestions(input, 'r2', { asOf: { kind: 'column', column: 'at' } }));
  expect(noColumn).toMatchObject({ type: 'COLUMN_UNKNOWN', message: expect.stringContaining('"at"') as string });
  const { asOf: _, ...ready } = ofQuestions(input, 'r3', { featuresReady: true });
  expect(await refused(ready)).toMatchObject({
    type: 'COLUMN_UNKNOWN',
    message: expect.stringContaining(names()[0]!) as string,
  });
  const text = join(dir, 'text.parquet');
  await sql(
    `COPY (SELECT * REPLACE (CAST(distance AS VARCHAR) AS distance) FROM read_parquet('${input}')) TO '${text}' (FORMAT parquet)`,
  );
  expect(await refused(ofQuestions(text, 'r4'))).toMatchObject({
    type: 'COLUMN_TYPE',
    message: expect.stringContaining('"distance"') as string,
  });
  const lost = join(dir, 'lost.parquet');
  await sql(
    `COPY (SELECT * REPLACE (CASE WHEN id = 'q7/0' THEN NULL ELSE asked_at END AS asked_at) FROM read_parquet('${input}')) TO '${lost}' (FORMAT parquet)`,
  );
  expect(await refused(ofQuestions(lost, 'r5'))).toMatchObject({
    type: 'INPUT_INVALID',
    message: expect.stringContaining('row 7 ') as string,
  });
  const garbage = join(dir, 'garbage.parquet');
  await appendFile(garbage, 'no Parquet');
  expect(await refused(ofQuestions(garbage, 'r6'))).toMatchObject({ type: 'INPUT_INVALID' });
  const found = await readdir(dir);
  expect(workFolders(found)).toEqual(standing);
  for (const folder of ['r1', 'r2', 'r3', 'r4', 'r5', 'r6']) expect(found).not.toContain(folder);
});
