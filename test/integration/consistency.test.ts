import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createConsistencyCheck } from '../../activities/consistency.ts';
import type { Dependencies } from '../../activities/dependencies.ts';
import type { Beating } from '../../activities/heartbeat.ts';
import { createIngestion } from '../../activities/ingest-batch.ts';
import { createLogUpkeep } from '../../activities/log-upkeep.ts';
import { loadProject } from '../../cli/load-project.ts';
import { applyProject } from '../../db/apply-project.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { bufferEvents, getLastSequence, listLogFiles } from '../../db/ingest.ts';
import { listAlerts } from '../../db/monitors.ts';
import { insertPredictions } from '../../db/predictions.ts';
import { createSourceContract } from '../../db/source-contracts.ts';
import { resetProgress } from '../../db/view-progress.ts';
import { type ProjectSpec, versioned } from '../../domain/project/spec.ts';
import { MICROS_PER_HOUR } from '../../domain/time.ts';
import { compileViewOf } from '../../features/kernel/compiled-view.ts';
import { encodeKey } from '../../features/kernel/key-encoding.ts';
import { DuckDb } from '../../features/offline/duckdb.ts';
import { materializeView } from '../setup/materialize-view.ts';
import { createPostgresStore } from '../../features/online/postgres-store.ts';
import { compileFeatureReader } from '../../features/reader/feature-reader.ts';
import { openEventIndex } from '../../platform/event-index.ts';
import { FileBlobStore } from '../../platform/file-blob-store.ts';
import { startStreamer } from '../../workers/streamer.ts';
import { eventually } from '../setup/eventually.ts';
import { createTestDatabase } from '../setup/test-database.ts';

const MODEL = 'flight-delay';
const SET = 'delay_features@1';
const BEATING: Beating = { signal: new AbortController().signal, progress: () => undefined };
/** 2001-05-01T00:00:00Z: the clock of the flights. */
const T0 = 988_675_200_000_000;
const AIRPORTS = ['SEA', 'SFO', 'JFK', 'LAX'];

let database: Database;
let dir: string;
let world: ReturnType<typeof createWorld>;

beforeAll(async () => {
  database = connectDatabase(await createTestDatabase(), { name: 'consistency-test', max: 8 });
  dir = await mkdtemp(join(tmpdir(), 'serin-consistency-'));
  const { spec } = await loadProject('examples/flights/project.ts');
  await applyProject(database.db, { spec, bundleSha256: null, by: 'tests', at: 1 });
  world = createWorld(spec);
});

afterAll(async () => {
  world.close();
  await database.close();
  await rm(dir, { recursive: true, force: true });
});

/** The parts of a running Serin that make, serve and log features, over one database. */
function createWorld(spec: ProjectSpec) {
  const { db, pool } = database;
  const blobs = new FileBlobStore(join(dir, 'blobs'));
  const store = createPostgresStore(pool);
  const logger = pino({ level: 'silent' });
  const dependencies: Dependencies = {
    db,
    pool,
    blobs,
    onlineStore: store,
    config: { workDir: dir, duckdbMemory: '500MB', duckdbThreads: 1 },
    logger,
    now: () => clock,
  };
  const source = spec.sources.find(({ name }) => name === 'flights')!;
  const viewIds = spec.featureSets.find((each) => versioned(each) === SET)!.views.map(({ view }) => view);
  const ingestion = createIngestion(dependencies, createLogUpkeep(dependencies));
  const contract = createSourceContract(source, []);
  const index = openEventIndex(blobs);
  const reader = compileFeatureReader(spec, SET);
  let flights = 0;
  let answers = 0;
  let clock = 0;
  /** Of those who answer and build: minutes go by after each build. */
  let wallClock = 1_000_000_000;

  /** Of a quarter of an hour each, between all airports; every third one is late. */
  function someFlights(count: number) {
    return Array.from({ length: count }, () => {
      const i = flights++;
      const at = new Date((T0 + i * (MICROS_PER_HOUR / 4)) / 1_000).toISOString();
      const [origin, destination] = [AIRPORTS[i % 4]!, AIRPORTS[(i + 1 + (i % 3)) % 4]!];
      return { date: at, delay: i % 3 === 0 ? 20 + (i % 50) : -5, distance: 100 + i, origin, destination };
    });
  }

  async function push(count: number): Promise<void> {
    const admitted = someFlights(count).map((flight) => {
      const check = contract.admit(flight, T0 + flights * (MICROS_PER_HOUR / 4));
      if (!check.ok) throw new Error(JSON.stringify(check.reasons));
      return check.event;
    });
    await db.transaction().execute((tx) => bufferEvents(tx, source.name, admitted, index));
  }

  /** As the workflow does before it looks. */
  async function flush(): Promise<void> {
    const upToSeq = await getLastSequence(db, source.name);
    await ingestion.ingestPushed({ source, batchId: `pushed-${upToSeq}`, upToSeq }, BEATING);
  }

  const check = createConsistencyCheck(dependencies);
  return {
    store,
    source,
    viewIds,
    push,
    close: () => index.close(),
    async ingestFile(batchId: string, count: number): Promise<void> {
      const path = join(dir, `${batchId}.jsonl`);
      await writeFile(
        path,
        someFlights(count)
          .map((flight) => `${JSON.stringify(flight)}\n`)
          .join(''),
      );
      await ingestion.ingestFromFile({ source, keys: [], batchId, input: { path, format: 'jsonl' } }, BEATING);
    },
    async materialize(): Promise<void> {
      await flush();
      const upToSeq = await getLastSequence(db, source.name);
      const duckdb = await DuckDb.open({ memory: '500MB', threads: 1, tempDir: dir });
      for (const id of viewIds) {
        const view = spec.views.find((each) => versioned(each) === id)!;
        const definition = { view, source };
        const logFiles = await listLogFiles(db, source.name);
        await materializeView({
          view: compileViewOf(spec, id),
          definition,
          logFiles,
          upToSeq,
          foldAt: T0,
          blobs,
          duckdb,
          store,
        });
        await resetProgress(db, [{ viewId: id, source: source.name, appliedSeq: upToSeq }], wallClock);
      }
      duckdb.close();
      wallClock += 120_000_000;
    },
    /** Until every view has all that was pushed. */
    async stream(): Promise<void> {
      const streamer = startStreamer({
        db,
        pool,
        store,
        logger,
        registry: new Registry(),
        now: () => Date.now() * 1_000,
      });
      const last = await getLastSequence(db, source.name);
      await eventually('the views have every event', async () => {
        const cursors = await store.cursors(viewIds);
        return viewIds.every((id) => (cursors.get(id)?.appliedSeq ?? 0) >= last);
      });
      await streamer.stop();
    },
    /** Answers as the inference tier logs them. */
    async serve(): Promise<void> {
      const pairs = AIRPORTS.flatMap((origin) =>
        AIRPORTS.map((destination) => ({ origin, destination, distance: 500 })),
      );
      const asOf = T0 + flights * (MICROS_PER_HOUR / 4);
      const rows = [...pairs, { origin: 'XXX', destination: 'SEA', distance: 1 }].map((request) => ({ request, asOf }));
      const { values, readAt, knownSeq } = await reader.read(store, rows);
      const width = reader.columns.length;
      await insertPredictions(
        db,
        rows.map(({ request }, row) => ({
          predictionId: `answer-${answers++}`,
          model: MODEL,
          version: 0,
          arm: 'champion',
          rung: 'champion',
          epoch: 1,
          unit: 'u',
          asOf,
          answeredAt: wallClock,
          score: 0.5,
          sampleWeight: 1,
          features: Array.from(values.subarray(row * width, (row + 1) * width), (value) =>
            Number.isNaN(value) ? null : value,
          ),
          request,
          latencyMicros: 1,
          error: null,
          known: { knownSeq: Object.fromEntries(knownSeq), readAt: readAt[row]! },
          reason: null,
          statuses: [],
          servedModel: null,
          redacted: [],
          traceId: null,
        })),
      );
    },
    async check(after: number | null) {
      await flush();
      // just late enough that the answers so far have settled
      const { rows } = await pool.query('select coalesce(max(recorded_at), 0)::float8 as newest from prediction');
      clock = (rows[0] as { newest: number }).newest + 2_000_001;
      return check({ model: MODEL, after, windowMicros: MICROS_PER_HOUR }, () => undefined);
    },
    keyOf: (id: string, values: readonly string[]) => encodeKey(compileViewOf(spec, id).plan.keyParts, values)!,
  };
}

const firing = () => listAlerts(database.db, { model: MODEL, status: 'firing' });

test('what is served is what the log gives, through materialization and streaming, until a state is not what it should be', async () => {
  await world.push(300);
  await world.materialize();
  await world.serve();
  await world.push(60);
  await world.stream();
  await world.serve();
  const sound = await world.check(null);
  expect(sound).toMatchObject({ checkable: 34, checked: 34, mismatches: 0 });
  expect(await firing()).toEqual([]);

  // a state that no event has made: that of another route
  const viewId = world.viewIds.find((id) => id.startsWith('route'))!;
  const [sea, sfo] = [world.keyOf(viewId, ['SEA', 'SFO']), world.keyOf(viewId, ['SFO', 'SEA'])];
  const ref = { part: 'states' as const, key: sea };
  const { revision, cursor } = await world.store.snapshot(viewId, [ref]);
  const { states } = await world.store.read([{ viewId, key: sfo }]);
  await world.store.commit({ viewId, revision, cursor, changes: [{ ...ref, bytes: states[0]! }] });
  await world.serve();
  const skewed = await world.check(sound.windowEnd);
  expect(skewed).toMatchObject({ checked: 17 });
  expect(skewed.mismatches).toBeGreaterThan(0);
  expect(await firing()).toMatchObject([
    {
      monitor: 'feature-consistency',
      severity: 'critical',
      sentence: skewed.sentence,
      runbook: 'docs/runbooks/feature-skew.md',
    },
  ]);
  expect(skewed.sentence).toMatch(
    /^route__delay_share__7d was [\d.]+ in the answer answer-\d+ and is [\d.]+ by the log/,
  );

  // built again from the log, the view is right, and the alert resolves
  await world.materialize();
  await world.serve();
  expect(await world.check(skewed.windowEnd)).toMatchObject({ checked: 17, mismatches: 0 });
  expect(await firing()).toEqual([]);
});

test('events of a file that the views were not built with are left out: nobody could have served them', async () => {
  const before = await world.check(null);
  await world.ingestFile('late', 40);
  await world.push(10);
  await world.stream();
  await world.serve();
  expect(await world.check(before.windowEnd)).toMatchObject({ checked: 17, mismatches: 0 });
  // the next materialization takes them in; from then on they count
  await world.materialize();
  await world.serve();
  expect(await world.check(before.windowEnd)).toMatchObject({ checkable: 34, checked: 17, mismatches: 0 });
});

test('a check without answers says so, and leaves the alerts alone', async () => {
  const { windowEnd } = await world.check(null);
  expect(await world.check(windowEnd)).toMatchObject({
    checked: 0,
    mismatches: 0,
    sentence: 'no logged answer could be held against the log',
  });
});
