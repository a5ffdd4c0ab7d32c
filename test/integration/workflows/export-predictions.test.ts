import { mkdtemp, rm } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createActivities } from '../../../activities/activities.ts';
import { countExported, forgetExported } from '../../../activities/forget-exported.ts';
import { readPart } from '../../../activities/prediction-files.ts';
import { connectDatabase, type Database } from '../../../db/database.ts';
import { findOutcome, putOutcomes } from '../../../db/outcomes.ts';
import { exportedTo, listParts, type RecordedPrediction } from '../../../db/prediction-exports.ts';
import { insertPredictions, listPredictions, type LoggedPrediction } from '../../../db/predictions.ts';
import { putProject } from '../../../db/projects.ts';
import { redactionToken } from '../../../db/redaction.ts';
import { putModel } from '../../../db/registry.ts';
import type { ProjectSpec } from '../../../domain/project/spec.ts';
import { DuckDb } from '../../../features/offline/duckdb.ts';
import { createPostgresStore } from '../../../features/online/postgres-store.ts';
import { FileBlobStore } from '../../../platform/file-blob-store.ts';
import {
  type ExportPredictionsInput,
  type ExportPredictionsResult,
  type FoundPrediction,
  TASK_QUEUE_CONTROL,
} from '../../../workflows/messages.ts';
import { eventually } from '../../setup/eventually.ts';
import { createTestDatabase } from '../../setup/test-database.ts';
import { startTemporalFixture, type TemporalFixture } from './temporal-fixture.ts';

/** 2026-11-20T23:00:00Z */
const T0 = 1_795_215_600_000_000;
const HOUR = 3_600_000_000;

let temporal: TemporalFixture;
let database: Database;
let dir: string;
let blobs: FileBlobStore;
let workers: Awaited<ReturnType<TemporalFixture['startWorkers']>>;
beforeAll(async () => {
  temporal = await startTemporalFixture();
});
afterAll(() => temporal.stop());
beforeEach(async () => {
  database = connectDatabase(await createTestDatabase(), { name: 'export-test', max: 8 });
  const { db, pool } = database;
  dir = await mkdtemp(join(tmpdir(), 'serin-export-'));
  blobs = new FileBlobStore(join(dir, 'blobs'));
  for (const name of ['delay', 'other']) await putModel(db, { name, project: 'flights', projectDigest: 'd' });
  workers = await temporal.startWorkers(
    createActivities({
      db,
      pool,
      blobs,
      onlineStore: createPostgresStore(pool),
      config: { workDir: dir, duckdbMemory: '300MB', duckdbThreads: 1 },
      logger: pino({ level: 'silent' }),
      // every row is recorded before it
      now: () => (Date.now() + 60_000) * 1_000,
    }),
  );
});
afterEach(async () => {
  await workers.stop();
  await database.close();
  await rm(dir, { recursive: true });
});

function aPrediction(predictionId: string, overrides: Partial<LoggedPrediction> = {}): LoggedPrediction {
  return {
    predictionId,
    model: 'delay',
    version: 3,
    arm: 'champion',
    rung: 'champion',
    epoch: 4,
    unit: predictionId,
    asOf: T0,
    answeredAt: T0,
    score: 0.25,
    sampleWeight: 50,
    features: [1, null, 0.1],
    statuses: [0, 1, 2],
    request: { origin: 'SEA', distance: 600 },
    latencyMicros: 900,
    error: null,
    known: { knownSeq: { 'delays@1': 12 }, readAt: T0 },
    reason: null,
    servedModel: null,
    redacted: [],
    traceId: null,
    ...overrides,
  };
}

const exporting = (input: ExportPredictionsInput = {}): Promise<ExportPredictionsResult> =>
  temporal.client.workflow.execute('exportPredictions', {
    workflowId: `export/${randomUUID()}`,
    taskQueue: TASK_QUEUE_CONTROL,
    args: [input],
  });
const finding = async (predictionId: string): Promise<readonly object[]> => {
  const found: FoundPrediction = await temporal.client.workflow.execute('findPrediction', {
    workflowId: `find/${randomUUID()}`,
    taskQueue: TASK_QUEUE_CONTROL,
    args: [{ predictionId }],
  });
  return found.answers;
};

async function withDuckDb<T>(work: (duckdb: DuckDb) => Promise<T>): Promise<T> {
  const duckdb = await DuckDb.open({ memory: '300MB', threads: 1, tempDir: dir });
  try {
    return await work(duckdb);
  } finally {
    duckdb.close();
  }
}

/** What lies in all of a model's files. */
const exported = (model: string): Promise<RecordedPrediction[]> =>
  withDuckDb(async (duckdb) => {
    const rows: RecordedPrediction[] = [];
    for (const { file } of await listParts(database.db, { model }))
      rows.push(...(await readPart(file, { blobs, duckdb })));
    return rows;
  });

test('the log is exported by model and day, each row once however often it is asked for', async () => {
  const { db } = database;
  await insertPredictions(db, [
    aPrediction('p1'),
    aPrediction('p2', { answeredAt: T0 + 2 * HOUR }),
    aPrediction('p2', { arm: 'shadow', rung: 'shadow', known: null }),
    aPrediction('q1', { model: 'other' }),
  ]);
  const first = await exporting();
  expect(first.models).toMatchObject([
    { model: 'delay', rows: 3, files: 2, dropped: 0, droppedTo: null },
    { model: 'other', rows: 1, files: 1 },
  ]);
  expect((await listParts(db, { model: 'delay' })).map(({ day, rows }) => [day, rows])).toEqual([
    ['2026-11-20', 2],
    ['2026-11-21', 1],
  ]);
  expect((await exporting()).models).toMatchObject([
    { rows: 0, files: 0 },
    { rows: 0, files: 0 },
  ]);

  await insertPredictions(db, [aPrediction('p3')]);
  const [again] = (await exporting({ models: ['delay'] })).models;
  expect(again).toMatchObject({ model: 'delay', rows: 1, files: 1 });
  const ids = (await exported('delay')).map(({ predictionId, arm }) => `${predictionId} ${arm}`);
  expect(ids.toSorted()).toEqual(['p1 champion', 'p2 champion', 'p2 shadow', 'p3 champion']);
  expect(await listPredictions(db, 'p2')).toHaveLength(2);
});

test('what is dropped is found in the files, as it was', async () => {
  const { db } = database;
  await insertPredictions(db, [
    aPrediction('p1', { error: 'v3: gone', reason: 'error', redacted: ['unit'] }),
    aPrediction('p2'),
  ]);
  const [before] = await listPredictions(db, 'p1');
  expect((await exporting({ drop: true })).models).toMatchObject([{ model: 'delay', rows: 2, dropped: 2 }]);
  expect(await listPredictions(db, 'p1')).toEqual([]);
  const [found] = await finding('p1');
  expect(found).toMatchObject({ ...before });
  expect(await finding('p0')).toEqual([]);
});

test('rows that a rollout under way may look at stay in the table', async () => {
  const { db } = database;
  await insertPredictions(db, [aPrediction('old')]);
  const { rows } = await sql<{ at: number }>`
    select (extract(epoch from clock_timestamp()) * 1000000)::int8 as at`.execute(db);
  await sql`insert into model_version (model, version, kind, manifest, manifest_sha256, stage, stage_reason, author, registered_at)
    values ('delay', 4, 'onnx', '{}', 'x', 'candidate', '', 'a', 1)`.execute(db);
  await sql`insert into rollout (rollout_id, model, version, author, phase, state, policy, started_at)
    values ('r', 'delay', 4, 'a', 'canary', '{}', '{}', ${rows[0]!.at})`.execute(db);
  await insertPredictions(db, [aPrediction('new')]);
  expect((await exporting({ drop: true })).models).toMatchObject([{ rows: 2, dropped: 1 }]);
  expect(await listPredictions(db, 'old')).toEqual([]);
  expect(await listPredictions(db, 'new')).toHaveLength(1);
  expect(await exported('delay')).toHaveLength(2);
});

test('rows of the window that a monitor will look at next stay in the table', async () => {
  const { db } = database;
  const monitors = [{ everyMs: 3_600_000 }];
  await putProject(db, {
    spec: { name: 'flights', models: [{ name: 'delay', monitors }] } as unknown as ProjectSpec,
    digest: 'd',
    bundleSha256: null,
    by: 'test',
    at: 1,
  });
  await insertPredictions(db, [aPrediction('p1'), aPrediction('p2')]);
  await sql`update prediction set recorded_at = recorded_at - ${3 * HOUR} where prediction_id = 'p1'`.execute(db);
  const [delay] = (await exporting({ drop: true })).models;
  expect(delay).toMatchObject({ model: 'delay', rows: 2, dropped: 1 });
  expect(await listPredictions(db, 'p2')).toHaveLength(1);
});

test('a row whose writer has not finished is waited for, not skipped', async () => {
  const { db } = database;
  await insertPredictions(db, [aPrediction('quick')]);
  let finish!: () => void;
  const held = new Promise<void>((resolve) => (finish = resolve));
  let written!: () => void;
  const inserted = new Promise<void>((resolve) => (written = resolve));
  const writing = db.transaction().execute(async (tx) => {
    await insertPredictions(tx, [aPrediction('slow')]);
    written();
    await held;
  });
  await inserted;
  const result = exporting();
  await eventually('the export waits for the writer', async () => {
    // of this database: other test files share the server
    const { rows } = await sql`
      select 1 as one from pg_locks join pg_stat_activity as activity using (pid)
      where mode = 'ShareLock' and not granted and activity.datname = current_database()`.execute(db);
    return rows.length > 0;
  });
  finish();
  await writing;
  expect((await result).models).toMatchObject([{ model: 'delay', rows: 2 }]);
});

test('two exports at a time leave each row in one file', async () => {
  const { db } = database;
  const rows = Array.from({ length: 40 }, (_, i) => aPrediction(`p${i}`, { answeredAt: T0 + i * HOUR }));
  await insertPredictions(db, rows);
  const results = await Promise.all([exporting(), exporting(), exporting()]);
  const total = results.flatMap(({ models }) => models).reduce((sum, each) => sum + each.rows, 0);
  expect(total).toBe(40);
  expect(new Set((await exported('delay')).map(({ predictionId }) => predictionId)).size).toBe(40);
  expect(await exported('delay')).toHaveLength(40);
});

test('the answers to a forgotten key leave the files, with their outcomes; the others stay', async () => {
  const { db } = database;
  const token = redactionToken('key', 'Ada');
  await insertPredictions(db, [
    aPrediction('p1', { request: { who: token, floor: 1 } }),
    aPrediction('p2', { request: { who: 'Ada', floor: 1 } }),
    aPrediction('p3', { request: { who: 'Bob', floor: 1 } }),
    aPrediction('p4', { request: { who: token, floor: 1 }, answeredAt: T0 + 2 * HOUR }),
  ]);
  await putOutcomes(
    db,
    'delay',
    ['p1', 'p3'].map((predictionId) => ({ predictionId, value: 1, observedAt: 2 })),
  );
  await exporting({ drop: true });
  const until = await exportedTo(db, 'delay');
  const files = (await listParts(db)).map(({ file }) => file.sha256);
  const roles = { keys: [['who']], values: ['Ada'], tokens: [[token]] };
  const about = { requestId: 'r1', model: 'delay', roles };
  await withDuckDb(async (duckdb) => {
    const work = { blobs, workDir: dir, duckdb };
    expect(await countExported({ db }, about, work)).toBe(3);
    await forgetExported({ db }, about, work, new AbortController().signal);
    expect(await countExported({ db }, about, work)).toBe(0);
  });
  expect((await exported('delay')).map(({ predictionId }) => predictionId)).toEqual(['p3']);
  expect(await findOutcome(db, 'delay', 'p1')).toBeUndefined();
  expect(await findOutcome(db, 'delay', 'p3')).toBeDefined();
  const doomed = await db.selectFrom('forgotten_blob').select('sha256').execute();
  expect(doomed.map(({ sha256 }) => sha256).toSorted()).toEqual(files.toSorted());
  // a range stays exported when its rows are gone
  expect(await exportedTo(db, 'delay')).toBe(until);
});
