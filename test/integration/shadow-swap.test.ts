import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Dependencies } from '../../activities/dependencies.ts';
import type { Beating } from '../../activities/heartbeat.ts';
import { createIngestion } from '../../activities/ingest-batch.ts';
import { createLogUpkeep } from '../../activities/log-upkeep.ts';
import { createMaterialization, type FillReport } from '../../activities/materialization.ts';
import { loadProject } from '../../cli/load-project.ts';
import { applyProject } from '../../db/apply-project.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { bufferEvents, getLastSequence, readBuffer, trimBuffer } from '../../db/ingest.ts';
import { listStaleViews } from '../../db/shadows.ts';
import { createSourceContract } from '../../db/source-contracts.ts';

import type { ProjectSpec } from '../../domain/project/spec.ts';
import { MICROS_PER_HOUR } from '../../domain/time.ts';
import { compileViewOf } from '../../features/kernel/compiled-view.ts';
import type { OnlineStore } from '../../features/online/online-store.ts';
import { createPostgresStore } from '../../features/online/postgres-store.ts';
import { applyToView } from '../../features/online/apply-events.ts';
import { openEventIndex } from '../../platform/event-index.ts';
import { FileBlobStore } from '../../platform/file-blob-store.ts';
import { createTestDatabase } from '../setup/test-database.ts';

const VIEW = 'origin_delays@1';
const T0 = 988_675_200_000_000;
const BEATING: Beating = { signal: new AbortController().signal, progress: () => undefined };
const AIRPORTS = ['SEA', 'SFO', 'JFK', 'LAX'];

let database: Database;
let dir: string;
let spec: ProjectSpec;
let store: OnlineStore;
let dependencies: Dependencies;
let index: ReturnType<typeof openEventIndex>;
let flights = 0;
let labels = 0;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'serin-shadow-swap-'));
  ({ spec } = await loadProject('examples/flights/project.ts'));
});
beforeEach(async () => {
  await database?.close();
  database = connectDatabase(await createTestDatabase(), { name: 'shadow-swap-test', max: 6 });
  const blobs = new FileBlobStore(join(dir, 'blobs'));
  index?.close();
  index = openEventIndex(blobs);
  store = createPostgresStore(database.pool);
  dependencies = {
    db: database.db,
    pool: database.pool,
    blobs,
    onlineStore: store,
    config: { workDir: dir, duckdbMemory: '500MB', duckdbThreads: 1 },
    logger: pino({ level: 'silent' }),
    now: () => Date.now() * 1_000,
  };
  await applyProject(database.db, { spec, bundleSha256: null, by: 'tests', at: 1 });
});
afterAll(async () => {
  index.close();
  await database.close();
  await rm(dir, { recursive: true, force: true });
});

const source = () => spec.sources.find(({ name }) => name === 'flights')!;
const ingestion = () => createIngestion(dependencies, createLogUpkeep(dependencies));
const appliedSeq = async () => (await store.cursors([VIEW])).get(VIEW)?.appliedSeq;

function someFlights(count: number) {
  return Array.from({ length: count }, () => {
    const i = flights++;
    const date = new Date((T0 + i * (MICROS_PER_HOUR / 4)) / 1_000).toISOString();
    return { date, delay: i % 40, distance: 100 + i, origin: AIRPORTS[i % 4]!, destination: AIRPORTS[(i + 1) % 4]! };
  });
}

async function push(count: number): Promise<void> {
  const contract = createSourceContract(source(), []);
  const admitted = someFlights(count).map((flight) => {
    const check = contract.admit(flight, T0 + flights * (MICROS_PER_HOUR / 4));
    if (!check.ok) throw new Error(JSON.stringify(check.reasons));
    return check.event;
  });
  await database.db.transaction().execute((tx) => bufferEvents(tx, 'flights', admitted, index));
}

async function ingestFile(count: number): Promise<void> {
  const batchId = `file-${flights}`;
  const path = join(dir, `${batchId}.jsonl`);
  await writeFile(
    path,
    someFlights(count)
      .map((flight) => `${JSON.stringify(flight)}\n`)
      .join(''),
  );
  const input = { path, format: 'jsonl' as const };
  await ingestion().ingestFromFile({ source: source(), keys: [], batchId, input }, BEATING);
}

async function flush(): Promise<number> {
  const upToSeq = await getLastSequence(database.db, 'flights');
  await ingestion().ingestPushed({ source: source(), batchId: `pushed-${upToSeq}`, upToSeq }, BEATING);
  return upToSeq;
}

/** A shadow that is filled and waits to take the view's place. */
async function filled(materialization = createMaterialization(dependencies)) {
  const { shadowId } = await materialization.open({ project: spec.name, view: VIEW, label: `run-${(labels += 1)}` });
  const build = { project: spec.name, view: VIEW, shadowId, upToSeq: await flush(), foldAt: T0 };
  const done = await materialization.fill({ ...build, parts: 3 }, BEATING);
  return { materialization, build: { ...build, ...done }, keys: done.keys };
}

async function contents(viewId: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const { key, bytes } of store.dump(viewId))
    found[Buffer.from(key).toString('hex')] = Buffer.from(bytes).toString('hex');
  return found;
}

async function builtSeq(): Promise<number | null | undefined> {
  const { rows } = await database.pool.query('select built_seq from view_progress where view_id = $1', [VIEW]);
  return (rows as { built_seq: number | null }[])[0]?.built_seq;
}

/** As the streamer does. */
async function stream(): Promise<void> {
  const cursor = (await store.cursors([VIEW])).get(VIEW)!;
  const stored = await readBuffer(database.db, { source: 'flights', afterSeq: cursor.appliedSeq, limit: 1_000 });
  if (stored.length === 0) return;
  const events = stored.map(({ operation: kind, ...event }) => ({ ...event, kind }));
  const view = compileViewOf(spec, VIEW);
  await applyToView({ view, events, store, fromSeqExclusive: cursor.appliedSeq, toSeq: events.at(-1)!.seq });
}

test('a swap that is asked for again, after the first died before it could say so, leaves the new build in place', async () => {
  await ingestFile(20);
  const first = await filled();
  await first.materialization.swap(first.build, BEATING);
  await first.materialization.drop(first.build, BEATING);
  const old = await contents(VIEW);
  await ingestFile(20);

  // the exchange takes effect, its answer never comes
  const dying: OnlineStore = {
    read: (refs) => store.read(refs),
    cursors: (viewIds) => store.cursors(viewIds),
    snapshot: (viewId, refs) => store.snapshot(viewId, refs),
    commit: (commit) => store.commit(commit),
    drop: (viewId, limit) => store.drop(viewId, limit),
    dump: (viewId) => store.dump(viewId),
    async exchange(...request) {
      expect(await store.exchange(...request)).toBe(true);
      throw new Error('killed');
    },
  };
  const { build } = await filled();
  const fresh = await contents(build.shadowId);
  expect(fresh).not.toEqual(old);
  const killed = createMaterialization({ ...dependencies, onlineStore: dying });
  await expect(killed.swap(build, BEATING)).rejects.toThrow('killed');
  expect(await contents(VIEW)).toEqual(fresh);
  expect(await builtSeq()).toBe(20);

  const { materialization } = first;
  expect(await materialization.swap(build, BEATING)).toEqual({ verdict: 'good' });
  expect(await materialization.swap(build, BEATING)).toEqual({ verdict: 'good' });
  expect([await contents(VIEW), await contents(build.shadowId)]).toEqual([fresh, old]);
  expect(await builtSeq()).toBe(40);
  await materialization.drop(build, BEATING);
  expect([await contents(VIEW), await contents(build.shadowId)]).toEqual([fresh, {}]);
});

test('what is pushed while a view is built waits in the buffer for the shadow, and is in it when it takes its place', async () => {
  await ingestFile(10);
  const first = await filled();
  await first.materialization.swap(first.build, BEATING);
  await first.materialization.drop(first.build, BEATING);

  const { materialization, build } = await filled();
  await push(15);
  await stream();
  // others flush and trim meanwhile: the view has it all, the shadow not yet
  await database.pool.query('update view_progress set applied_seq = 25 where view_id = $1', [VIEW]);
  await flush();
  await trimBuffer(database.db, 'flights');
  expect(await appliedSeq()).toBe(25);
  expect(await materialization.swap(build, BEATING)).toEqual({ verdict: 'good' });
  expect(await appliedSeq()).toBe(25);
  const swapped = await contents(VIEW);
  expect(swapped).toEqual(await contents(build.shadowId));
  await materialization.drop(build, BEATING);
  await trimBuffer(database.db, 'flights');
  expect(await readBuffer(database.db, { source: 'flights', afterSeq: 0, limit: 100 })).toEqual([]);
});

test('a build of less of the log does not take the place of one of more', async () => {
  await ingestFile(10);
  const older = await filled();
  await ingestFile(10);
  const newer = await filled();
  expect(await newer.materialization.swap(newer.build, BEATING)).toEqual({ verdict: 'good' });
  const standing = await contents(VIEW);
  expect(await older.materialization.swap(older.build, BEATING)).toEqual({ verdict: 'good' });
  expect(await contents(VIEW)).toEqual(standing);
  await older.materialization.drop(older.build, BEATING);
  expect(await contents(VIEW)).toEqual(standing);
});

test('a build that is filled again from a part has the rows of one that was filled at once', async () => {
  await ingestFile(30);
  const whole = await filled();
  const { materialization } = whole;
  const { shadowId } = await materialization.open({ project: spec.name, view: VIEW, label: `run-${(labels += 1)}` });
  const build = { ...whole.build, shadowId, parts: 3 };
  const reports: FillReport[] = [];
  const stop = new AbortController();
  const dies = {
    signal: stop.signal,
    progress: (report: unknown) => {
      reports.push(report as FillReport);
      if (reports.length === 2) stop.abort(new Error('killed'));
    },
  };
  await expect(materialization.fill(build, dies)).rejects.toThrow('killed');
  const { keys } = await materialization.fill(build, BEATING, reports[1]);
  expect(keys).toBe(whole.keys);
  expect(await contents(shadowId)).toEqual(await contents(whole.build.shadowId));
});

test('a build from before an entity was forgotten does not take the place of the view', async () => {
  await ingestFile(10);
  const { materialization, build } = await filled();
  await database.pool.query(
    `insert into forgotten_key (source, columns, types, digest, request_id, forgotten_at)
     values ('flights', '{origin}', '{str}', 'd', 'r', 1)`,
  );
  expect(await materialization.swap(build, BEATING)).toEqual({ verdict: 'outdated' });
  expect(await appliedSeq()).toBeUndefined();
  const again = await filled();
  expect(await again.materialization.swap(again.build, BEATING)).toEqual({ verdict: 'good' });
  expect(await appliedSeq()).toBe(10);
});

test('a shadow whose workflow was terminated is taken away by the next build a day later, and lets go of the buffer', async () => {
  await ingestFile(10);
  const { build: lost } = await filled();
  const held = async () => (await database.pool.query(`select view_id from view_progress`)).rows;
  const { build } = await filled();
  expect(await held()).toEqual([{ view_id: lost.shadowId }, { view_id: build.shadowId }]);
  const tomorrow = createMaterialization({ ...dependencies, now: () => Date.now() * 1_000 + 25 * MICROS_PER_HOUR });
  await tomorrow.open({ project: spec.name, view: VIEW, label: 'tomorrow' });
  expect(await held()).toEqual([{ view_id: `${VIEW}~tomorrow` }]);
  expect(await contents(lost.shadowId)).toEqual({});
});

test('views in use are stale when a file came since their build, and only then', async () => {
  await ingestFile(5);
  expect(await listStaleViews(database.db, 'flights')).toEqual([]);
  const { materialization, build } = await filled();
  await materialization.swap(build, BEATING);
  await push(5);
  await flush();
  expect(await listStaleViews(database.db, 'flights')).toEqual([]);
  await ingestFile(5);
  expect(await listStaleViews(database.db, 'flights')).toEqual([VIEW]);
});
