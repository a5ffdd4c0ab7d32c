/** Needs the compiled dataset thread: `npx tsc -p tsconfig.build.json`. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatasetBuilds, type DatasetHeartbeat } from '../../activities/dataset-builds.ts';
import type { Beating } from '../../activities/heartbeat.ts';
import { createIngestion } from '../../activities/ingest-batch.ts';
import { createLogUpkeep } from '../../activities/log-upkeep.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { putProject } from '../../db/projects.ts';
import { getDataset, listDatasets } from '../../db/runs.ts';
import { formatTime } from '../../domain/features/time-text.ts';
import type { ProjectSpec, TrainingSpec } from '../../domain/project/spec.ts';
import {
  randomWorld,
  shopProject,
  SOURCES,
  type World,
  type WorldRow,
} from '../../features/offline/testing/shop-world.ts';
import { FileBlobStore } from '../../platform/file-blob-store.ts';
import { createTestDatabase } from '../setup/test-database.ts';

let database: Database;
let workDir: string;
let builds: ReturnType<typeof createDatasetBuilds>;
let ingestion: ReturnType<typeof createIngestion>;
const BEATING: Beating = { signal: new AbortController().signal, progress: () => undefined };
const INPUT = { project: 'shop', projectDigest: 'the-digest', model: 'shop', training: 'plain' };

const TRAINING = {
  name: 'plain',
  featureSet: 'inputs@1',
  seed: 1,
  split: { trainFrom: 0, testFrom: 30, testTo: 60, trainRows: null, testRows: null },
} as TrainingSpec;

beforeAll(async () => {
  database = connectDatabase(await createTestDatabase(), { name: 'datasets-test', max: 4 });
  workDir = await mkdtemp(join(tmpdir(), 'serin-datasets-'));
  const { db, pool } = database;
  const dependencies = {
    db,
    pool,
    blobs: new FileBlobStore(join(workDir, 'blobs')),
    config: { workDir, duckdbMemory: '500MB', duckdbThreads: 1, datasetThreads: 2 },
    logger: pino({ level: 'silent' }),
    now: () => 1_000_000,
  };
  builds = createDatasetBuilds(dependencies);
  ingestion = createIngestion(dependencies, createLogUpkeep(dependencies));
  const shop = shopProject();
  const project: ProjectSpec = { ...shop, models: [{ ...shop.models[0]!, trainings: [TRAINING] }] };
  await putProject(db, { spec: project, digest: INPUT.projectDigest, bundleSha256: null, by: 'tests', at: 1 });
  await ingest(randomWorld(31, { rows: 120 }), 'first');
});

afterAll(async () => {
  await database.close();
  await rm(workDir, { recursive: true, force: true });
});

/** As files that the sources send. */
async function ingest(world: World, batch: string): Promise<void> {
  for (const source of SOURCES) {
    const path = join(workDir, `${source.name}-${batch}.jsonl`);
    const sent = (row: WorldRow): object => ({
      ...row,
      at: formatTime(row['at'] as number),
      known: formatTime(row['known'] as number),
    });
    const rows = world[source.name as keyof World];
    await writeFile(path, rows.map((row) => `${JSON.stringify(sent(row))}\n`).join(''));
    await ingestion.ingestFromFile({ source, keys: [], batchId: batch, input: { path, format: 'jsonl' } }, BEATING);
  }
}

/** The chunks that a heartbeat names. */
const chunksOf = (beat: unknown): string[] => Object.keys((beat as DatasetHeartbeat).checkpoint?.chunks ?? {});

test('an attempt goes on where the last heartbeat of the one before was, with what was known then', async () => {
  const killed = new AbortController();
  let last: DatasetHeartbeat | null = null;
  const first = builds.build(
    INPUT,
    {
      signal: killed.signal,
      progress: (beat) => {
        last = beat as DatasetHeartbeat;
        if (chunksOf(beat).length >= 2) killed.abort(new Error('the worker is gone'));
      },
    },
    null,
  );
  await expect(first).rejects.toMatchObject({ code: 'CANCELLED' });
  const done = chunksOf(last);
  expect(done.length).toBeGreaterThanOrEqual(2);
  expect(await listDatasets(database.db)).toEqual([]);

  // more arrives before the next attempt
  await ingest(randomWorld(33, { rows: 20 }), 'between');
  const seen: string[][] = [];
  const resumed = await builds.build(
    INPUT,
    { signal: new AbortController().signal, progress: (beat) => seen.push(chunksOf(beat)) },
    last,
  );
  for (const chunks of seen) expect(chunks).toEqual(expect.arrayContaining(done));
  const { manifest } = await getDataset(database.db, resumed.digest);
  expect(manifest.knowledgeCut).toEqual(last!['knowledgeCut']);

  const fresh = await builds.build(INPUT, BEATING, null);
  expect((await getDataset(database.db, fresh.digest)).manifest.knowledgeCut.seq['orders']).toBeGreaterThan(
    manifest.knowledgeCut.seq['orders']!,
  );
  expect(await builds.build(INPUT, BEATING, null)).toEqual(fresh);
});

test('two datasets of one training are compared by the events that came between, and their rows explained', async () => {
  const before = await builds.build(INPUT, BEATING, null);
  await ingest(randomWorld(32, { rows: 120 }), 'second');
  const after = await builds.build(INPUT, BEATING, null);
  expect(after.digest).not.toBe(before.digest);

  const diff = await builds.diff({ before: before.digest, after: after.digest }, BEATING.signal);
  const { manifest } = await getDataset(database.db, before.digest);
  expect(diff.common + diff.added.rows).toBe(after.rows);
  expect(diff.columns.length).toBeGreaterThan(3);
  const cells = diff.columns
    .filter(({ column }) => manifest.features.includes(column))
    .flatMap(({ samples }) => samples);
  expect(cells.length).toBeGreaterThan(5);
  for (const { events, eventCount, asOf } of cells) {
    expect(eventCount).toBeGreaterThan(0);
    for (const { source, seq, availableAt } of events) {
      expect(seq).toBeGreaterThan(manifest.knowledgeCut.seq[source]!);
      expect(availableAt).toBeLessThanOrEqual(asOf);
    }
  }
  const row = diff.columns.find(({ column }) => column === 'customer__orders__w')!.samples[0]!;
  for (const [{ digest }, value] of [
    [before, row.before],
    [after, row.after],
  ] as const) {
    const explained = await builds.explain({ dataset: digest, row: row.row }, BEATING.signal);
    const feature = explained.features.find((each) => each.feature === 'customer__orders__w')!;
    expect(feature).toMatchObject({ kind: 'view', value, count: value });
  }
  await expect(builds.explain({ dataset: before.digest, row: 99_999 }, BEATING.signal)).rejects.toMatchObject({
    code: 'INPUT_INVALID',
  });
});

test('a dataset is built again from its manifest, whatever has arrived since', async () => {
  const made = await builds.build(INPUT, BEATING, null);
  await ingest(randomWorld(34, { rows: 40 }), 'third');
  expect(await builds.rebuild({ dataset: made.digest }, BEATING, null)).toEqual({
    dataset: made.digest,
    rebuilt: made.digest,
    same: true,
  });
  expect((await builds.build(INPUT, BEATING, null)).digest).not.toBe(made.digest);
});
