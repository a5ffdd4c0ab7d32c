import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createIngestion, type Ingested } from '../../activities/ingest-batch.ts';
import { createLogUpkeep, type LogUpkeep } from '../../activities/log-upkeep.ts';
import type { Beating } from '../../activities/heartbeat.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { listIndexFiles } from '../../db/event-index.ts';
import { bufferEvents, getLastSequence, listLogFiles, readBuffer } from '../../db/ingest.ts';
import { listRetiredFiles } from '../../db/log-compaction.ts';
import { createSourceContract } from '../../db/source-contracts.ts';
import { FILES_PER_PERIOD } from '../../domain/features/log-compaction.ts';
import { type LogFile, periodOf } from '../../domain/features/log-file.ts';
import type { SourceSpec } from '../../domain/project/spec.ts';
import { DuckDb } from '../../features/offline/duckdb.ts';
import { logRelationSql } from '../../features/offline/log-relation.ts';
import { openEventIndex } from '../../platform/event-index.ts';
import { FileBlobStore } from '../../platform/file-blob-store.ts';
import { createTestDatabase } from '../setup/test-database.ts';

let database: Database;
let workDir: string;
let blobs: FileBlobStore;
let duckdb: DuckDb;
let index: ReturnType<typeof openEventIndex>;
let ingestion: ReturnType<typeof createIngestion>;
let upkeep: LogUpkeep;
let made = 0;
let source: SourceSpec;

beforeAll(async () => {
  database = connectDatabase(await createTestDatabase(), { name: 'ingestion-test', max: 8 });
  workDir = await mkdtemp(join(tmpdir(), 'serin-ingestion-'));
  blobs = new FileBlobStore(join(workDir, 'blobs'));
  duckdb = await DuckDb.open({ memory: '500MB', threads: 1, tempDir: join(workDir, 'spill') });
  index = openEventIndex(blobs);
  const { db } = database;
  const config = { workDir, duckdbMemory: '500MB', duckdbThreads: 1 };
  const dependencies = { db, blobs, config, logger: pino({ level: 'silent' }), now: () => 1_000_000 };
  upkeep = createLogUpkeep(dependencies);
  ingestion = createIngestion(dependencies, upkeep);
});

afterAll(async () => {
  index.close();
  duckdb.close();
  await database.close();
  await rm(workDir, { recursive: true, force: true });
});

// a source of its own for each test
beforeEach(() => {
  source = aSource();
});

function aSource(overrides: Partial<SourceSpec> = {}): SourceSpec {
  const column = { nullable: true, pii: false, description: '' };
  made += 1;
  return {
    name: `orders-${made}`,
    description: '',
    owner: 'tests',
    columns: [
      { ...column, name: 'id', type: 'str', nullable: false },
      { ...column, name: 'at', type: 'ts', nullable: false },
      { ...column, name: 'known', type: 'ts', nullable: false },
      { ...column, name: 'shop', type: 'str', nullable: false },
      { ...column, name: 'total', type: 'i64', nullable: false },
      { ...column, name: 'what', type: 'str' },
    ],
    eventAt: 'at',
    zone: null,
    availableAt: { op: 'column', name: 'known' },
    eventId: ['id'],
    freshnessSlaSeconds: 60,
    ...overrides,
  };
}

const VERSIONED: Partial<SourceSpec> = {
  revisions: 'versions',
  operation: { column: 'what', retract: 'delete', tombstone: 'forget' },
};

type Sent = Record<string, unknown>;

function anOrder(id: string, overrides: Sent = {}): Sent {
  return { id, at: '2026-03-01T10:00:00Z', known: '2026-03-01T10:00:05Z', shop: 's1', total: 10, ...overrides };
}

const BEATING: Beating = { signal: new AbortController().signal, progress: () => undefined };
const KEYS = [['shop']];

/** As the API does it. */
async function push(...events: readonly Sent[]): Promise<{ added: number; refused: string[] }> {
  const contract = createSourceContract(source, KEYS);
  const admissions = events.map((event) => contract.admit(event, 1));
  const good = admissions.flatMap((each) => (each.ok ? [each.event] : []));
  const refused = admissions.flatMap((each) => (each.ok ? [] : each.reasons.map(({ code }) => code)));
  if (good.length === 0) return { added: 0, refused };
  const { added } = await database.db.transaction().execute((tx) => bufferEvents(tx, source.name, good, index));
  return { added, refused };
}

async function flush(): Promise<Ingested> {
  const upToSeq = await getLastSequence(database.db, source.name);
  return ingestion.ingestPushed({ source, batchId: `pushed-${upToSeq}`, upToSeq }, BEATING);
}

async function ingest(events: readonly Sent[], batchId = `batch-${(made += 1)}`): Promise<Ingested> {
  const path = join(workDir, `${source.name}-${batchId}.jsonl`);
  await writeFile(path, events.map((event) => `${JSON.stringify(event)}\n`).join(''));
  return ingestion.ingestFromFile({ source, keys: KEYS, batchId, input: { path, format: 'jsonl' } }, BEATING);
}

async function rowsOf(files: readonly LogFile[], columns: string): Promise<unknown[][]> {
  const paths = await Promise.all(files.map(({ blob }) => blobs.localPath(blob)));
  const rows = await duckdb.rows(`SELECT ${columns} FROM ${logRelationSql(paths, source)} ORDER BY ingest_seq`);
  return rows.map((row) => Object.values(row));
}

async function logged(columns = 'id'): Promise<unknown[][]> {
  return rowsOf(await listLogFiles(database.db, source.name), columns);
}

/** In the order of their texts. */
async function loggedIds(): Promise<string[]> {
  return (await logged()).map(([id]) => String(id)).toSorted();
}

describe('an event that comes twice', () => {
  test('by push, also when the first one has left the buffer for the log', async () => {
    expect(await push(anOrder('a'), anOrder('b'), anOrder('a'))).toMatchObject({ added: 2 });
    await flush();
    expect(await readBuffer(database.db, { source: source.name, afterSeq: 0, limit: 10 })).toEqual([]);
    expect(await push(anOrder('a'), anOrder('c'))).toMatchObject({ added: 1 });
    expect(await flush()).toMatchObject({ rowsAccepted: 1 });
    expect(await logged()).toEqual([['a'], ['b'], ['c']]);
  });

  test('by file and then by push', async () => {
    await ingest([anOrder('a'), anOrder('b')]);
    expect(await push(anOrder('b', { total: 11 }), anOrder('c'))).toMatchObject({ added: 1 });
  });

  test('by push and then by file, while it waits in the buffer and after', async () => {
    await push(anOrder('a'));
    expect(await ingest([anOrder('a'), anOrder('b')])).toMatchObject({
      rowsAccepted: 1,
      quarantined: { DUPLICATE: 1 },
    });
    await flush();
    expect(await ingest([anOrder('a'), anOrder('c')])).toMatchObject({
      rowsAccepted: 1,
      quarantined: { DUPLICATE: 1 },
    });
    expect(await loggedIds()).toEqual(['a', 'b', 'c']);
  });

  test('is there once, however pushes, flushes, files and compactions fall together', async () => {
    const ids = fc.array(fc.integer({ min: 0, max: 30 }).map(String), { minLength: 1, maxLength: 8 });
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('push' as const), ids }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('file' as const), ids }) },
      { weight: 2, arbitrary: fc.constant({ kind: 'flush' as const }) },
      { weight: 1, arbitrary: fc.constant({ kind: 'compact' as const }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { maxLength: 6 }), async (rounds) => {
        source = aSource();
        const sent = new Set<string>();
        for (const round of rounds) {
          const work = round.map(async (each) => {
            if (each.kind === 'flush') return flush();
            if (each.kind === 'compact') return upkeep.compact(source, BEATING);
            for (const id of each.ids) sent.add(id);
            const events = each.ids.map((id) => anOrder(id));
            return each.kind === 'push' ? push(...events) : ingest(events);
          });
          for (const outcome of await Promise.allSettled(work)) {
            // two flushes at a time: the activity's retry reads again
            if (outcome.status === 'rejected') expect(String(outcome.reason)).toMatch(/by another flush meanwhile/);
          }
        }
        await flush();
        await upkeep.compact(source, BEATING);
        expect(await loggedIds()).toEqual([...sent].toSorted());
      }),
      { numRuns: 12 },
    );
  }, 120_000);
});

describe('corrections and deletions', () => {
  beforeEach(() => {
    source = aSource(VERSIONED);
  });

  const corrected = { total: 12, known: '2026-03-02T00:00:00Z' };

  test.each(['push', 'file'] as const)(
    'are versions of their event; the very same row again is a duplicate (%s)',
    async (way) => {
      const send = async (...events: Sent[]): Promise<number> =>
        way === 'push' ? (await push(...events)).added : (await ingest(events)).rowsAccepted;
      expect(await send(anOrder('a'), anOrder('b'), anOrder('a'))).toBe(2);
      expect(await send(anOrder('a', corrected), anOrder('b'))).toBe(1);
      expect(await send(anOrder('a', corrected))).toBe(0);
      await flush();
      expect((await push(anOrder('a', corrected))).added).toBe(0);
      expect((await ingest([anOrder('a', corrected)])).rowsAccepted).toBe(0);
      expect(await logged('id, total, op')).toEqual([
        ['a', 10, 0],
        ['b', 10, 0],
        ['a', 12, 0],
      ]);
      const ids = (await logged('CAST(event_id AS VARCHAR)')).flat();
      expect(ids[2]).toBe(ids[0]);
    },
  );

  test.each(['push', 'file'] as const)('need only what names the event, the key and the times (%s)', async (way) => {
    const bare = (id: string, what: string, overrides: Sent = {}): Sent => ({
      id,
      at: '2026-03-01T10:00:00Z',
      known: '2026-03-03T00:00:00Z',
      what,
      ...overrides,
    });
    const events = [
      anOrder('a'),
      bare('a', 'delete'),
      bare('t', 'forget', { shop: 's1' }),
      bare('u', 'forget'),
      bare('v', 'change', { shop: 's1' }),
    ];
    if (way === 'push') {
      expect(await push(...events)).toEqual({ added: 3, refused: ['VALUE_NULL', 'VALUE_MISSING'] });
      await flush();
    } else {
      expect(await ingest(events)).toMatchObject({ rowsAccepted: 3, quarantined: { VALUE_NULL: 1, VALUE_MISSING: 1 } });
    }
    expect(await logged('id, op, shop, total')).toEqual([
      ['a', 0, 's1', 10],
      ['a', 1, null, null],
      ['t', 2, 's1', null],
    ]);
  });

  test('a file of removals alone may leave out the columns that they do not need', async () => {
    const removal = { id: 'a', at: '2026-03-01T10:00:00Z', known: '2026-03-03T00:00:00Z', what: 'delete' };
    expect(await ingest([removal])).toMatchObject({ rowsAccepted: 1 });
  });

  test('known at the same instant are numbered in the order of the file', async () => {
    await ingest([anOrder('a', { total: 3 }), anOrder('a', { total: 1 }), anOrder('a', { total: 2 })]);
    expect(await logged('total')).toEqual([[3], [1], [2]]);
  });
});

describe('the log', () => {
  test('has a file per day of availability, with its partition in the manifest', async () => {
    const days = ['2026-03-01', '2026-03-02', '2026-03-02', '2026-03-05'];
    await ingest(days.map((day, i) => anOrder(`o${i}`, { known: `${day}T12:00:00Z` })));
    const files = await listLogFiles(database.db, source.name);
    expect(files.map((file) => [file.availableOn, file.rows])).toEqual([
      ['2026-03-01', 1],
      ['2026-03-02', 2],
      ['2026-03-05', 1],
    ]);
  });

  test('has files of months or years for a batch of very many days', async () => {
    const known = (day: number): string => new Date(Date.UTC(2020, 0, 1 + day)).toISOString();
    await ingest(Array.from({ length: 300 }, (_, i) => anOrder(`o${i}`, { known: known(i) })));
    const months = await listLogFiles(database.db, source.name);
    expect(months).toHaveLength(10);
    expect(months[0]!.availableOn).toBe('2020-01');
    await ingest(Array.from({ length: 300 }, (_, i) => anOrder(`p${i}`, { known: known(i * 30) })));
    expect((await listLogFiles(database.db, source.name)).at(-1)!.availableOn).toMatch(/^\d{4}$/);
  });

  test('is compacted into the same rows; files that a dataset named stay readable', async () => {
    for (let i = 0; i < FILES_PER_PERIOD + 3; i++) {
      await push(anOrder(`a${i}`), anOrder(`b${i}`, { known: '2026-03-02T00:00:00Z' }));
      await flush();
    }
    const before = await listLogFiles(database.db, source.name);
    const rows = await logged('*');
    const { files } = await upkeep.compact(source, BEATING);
    const after = await listLogFiles(database.db, source.name);
    expect(after).toHaveLength(files);
    expect(after.length).toBeLessThan(before.length);
    expect(new Set(after.map(periodOf))).toEqual(new Set(['2026-03-01', '2026-03-02']));
    expect(await logged('*')).toEqual(rows);
    expect(await rowsOf(before, '*')).toEqual(rows);
    const retired = (await listRetiredFiles(database.db, source.name)).map(({ blob }) => blob.sha256);
    for (const file of before) {
      const standing = after.some(({ blob }) => blob.sha256 === file.blob.sha256);
      expect(retired.includes(file.blob.sha256)).toBe(!standing);
    }
    expect(await upkeep.compact(source, BEATING)).toEqual({ filesMerged: 0, rows: 0, files });
    expect((await push(anOrder('a3'))).added).toBe(0);
  });

  test('is read with the columns that the source has now', async () => {
    await ingest([anOrder('a', { total: 7 })]);
    const [note, score] = [
      { name: 'note', type: 'str', nullable: true, pii: false, description: '' },
      { name: 'total', type: 'f64', nullable: false, pii: false, description: '' },
    ] as const;
    source = { ...source, columns: [note, ...source.columns.filter(({ name }) => name !== 'total'), score] };
    expect(await logged('id, note, total, op')).toEqual([['a', null, 7, 0]]);
    await ingest([anOrder('b', { total: 7.5, note: 'gift' })]);
    expect(await logged('id, note, total, op')).toEqual([
      ['a', null, 7, 0],
      ['b', 'gift', 7.5, 0],
    ]);
    expect(await ingest([anOrder('a', { total: 7 })])).toMatchObject({ rowsAccepted: 0 });
  });
});

test('a batch is taken in once, and its index files stay few', async () => {
  expect(await ingest([anOrder('x')], 'same')).toMatchObject({ rowsAccepted: 1, alreadyThere: false });
  expect(await ingest([anOrder('x')], 'same')).toMatchObject({ rowsAccepted: 1, alreadyThere: true });
  await expect(ingest([anOrder('y')], 'same')).rejects.toMatchObject({ code: 'BATCH_CONFLICT' });
  for (let i = 0; i < 12; i++) {
    await push(anOrder(`o${i}`));
    await flush();
  }
  expect((await listIndexFiles(database.db, source.name)).length).toBeLessThanOrEqual(8);
  expect((await push(...Array.from({ length: 12 }, (_, i) => anOrder(`o${i}`)), anOrder('x'))).added).toBe(0);
});

test('a log from before there was an index is indexed with the next batch', async () => {
  await ingest([anOrder('a')]);
  await database.db.deleteFrom('event_index').where('source', '=', source.name).execute();
  await database.db.updateTable('log_file').set({ indexed: false }).where('source', '=', source.name).execute();
  await ingest([anOrder('b')]);
  expect((await push(anOrder('a'), anOrder('b'))).added).toBe(0);
});
