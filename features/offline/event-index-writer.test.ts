import { createHash } from 'node:crypto';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EventIndexFile, INDEX_FILES_MAX, planIndexMerge } from '../../domain/features/event-index.ts';
import type { LogFile } from '../../domain/features/log-file.ts';
import type { SourceSpec } from '../../domain/project/spec.ts';
import { openEventIndex } from '../../platform/event-index.ts';
import { FileBlobStore } from '../../platform/file-blob-store.ts';
import { DuckDb, textSql } from './duckdb.ts';
import { eventIdSql } from './event-id-sql.ts';
import { indexLogFiles, mergeIndexFiles } from './event-index-writer.ts';

let workDir: string;
let blobs: FileBlobStore;
let duckdb: DuckDb;
let files = 0;

beforeAll(async () => {
  workDir = await mkdtemp(join(tmpdir(), 'serin-index-'));
  blobs = new FileBlobStore(join(workDir, 'blobs'));
  duckdb = await DuckDb.open({ memory: '500MB', threads: 2, tempDir: join(workDir, 'spill') });
});

afterAll(async () => {
  duckdb.close();
  await rm(workDir, { recursive: true, force: true });
});

const SOURCE: SourceSpec = {
  name: 'pings',
  description: '',
  owner: 'o',
  columns: [{ name: 'at', type: 'ts', nullable: false, pii: false, description: '' }],
  eventAt: 'at',
  zone: null,
  availableAt: { op: 'column', name: 'at' },
  eventId: ['at'],
  freshnessSlaSeconds: 1,
};

function idOf(n: number): string {
  const hex = createHash('sha256').update(`t${n};`).digest('hex').slice(0, 32);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** A log file with the rows `from…to − 1`, one per microsecond. */
async function aLogFile(from: number, to: number): Promise<LogFile> {
  const path = join(workDir, `log-${files++}.parquet`);
  await duckdb.run(
    `COPY (SELECT i AS event_at, i AS available_at, i AS ingest_seq, ${eventIdSql(SOURCE)} AS event_id, "at" FROM (SELECT i, i AS "at" FROM range(${from}, ${to}) r(i))) TO ${textSql(path)} (FORMAT parquet)`,
  );
  const bounds = { minEventAt: from, maxEventAt: to - 1, minAvailableAt: from, maxAvailableAt: to - 1 };
  return { blob: await blobs.putFile(path), rows: to - from, firstSeq: from, lastSeq: to - 1, ...bounds };
}

async function indexOf(...logFiles: LogFile[]): Promise<EventIndexFile> {
  return indexLogFiles({ source: SOURCE, files: logFiles, blobs, duckdb, path: join(workDir, `index-${files++}`) });
}

async function storedOf(index: readonly EventIndexFile[], numbers: readonly number[]): Promise<number[]> {
  const reader = openEventIndex(blobs);
  try {
    const stored = await reader.stored(index, numbers.map(idOf));
    return numbers.filter((n) => stored.has(idOf(n)));
  } finally {
    reader.close();
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

describe('an event index', () => {
  test.each([1, 255, 256, 257, 10_000])('of %i rows has each of them and nothing else', async (rows) => {
    const index = await indexOf(await aLogFile(0, rows));
    expect(index.ids).toBe(rows);
    expect((await stat(await blobs.localPath(index.blob))).size).toBe(rows * 16 + Math.ceil(rows / 256) * 8);
    expect(await storedOf([index], range(-500, rows + 500))).toEqual(range(0, rows));
  });

  test('has a row once that two files of an old log have', async () => {
    const index = await indexOf(await aLogFile(0, 700), await aLogFile(300, 1_000));
    expect(index.ids).toBe(1_000);
    expect(await storedOf([index], range(-100, 1_100))).toEqual(range(0, 1_000));
  });

  test('that is merged is the same file as one of all rows', async () => {
    const parts = [await aLogFile(0, 5_000), await aLogFile(5_000, 5_001), await aLogFile(4_000, 90_000)];
    const indexes: EventIndexFile[] = [];
    for (const part of parts) indexes.push(await indexOf(part));
    const merged = await mergeIndexFiles(indexes, { blobs, path: join(workDir, 'merged') });
    expect(merged).toEqual(await indexOf(await aLogFile(0, 90_000)));
  });

  test('is asked in all of its files', async () => {
    const index = [await indexOf(await aLogFile(0, 100)), await indexOf(await aLogFile(200, 300))];
    expect(await storedOf(index, [50, 150, 250])).toEqual([50, 250]);
    expect(await storedOf([], [50])).toEqual([]);
  });
});

test('index files stay few, and an id is written a number of times that grows with the logarithm of their number', () => {
  const aFile = (ids: number, name: string): EventIndexFile => ({ blob: { uri: '', sha256: name, bytes: 0 }, ids });
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 1, maxLength: 300 }), (batches) => {
      let standing: EventIndexFile[] = [];
      let written = 0;
      for (const [i, ids] of batches.entries()) {
        standing = [...standing, aFile(ids, `b${i}`)];
        const merged = planIndexMerge(standing);
        if (merged.length === 0) continue;
        const sum = merged.reduce((total, file) => total + file.ids, 0);
        standing = [...standing.filter((file) => !merged.includes(file)), aFile(sum, `m${i}`)];
        written += sum;
        expect(merged.length).toBeGreaterThanOrEqual(2);
      }
      const ids = batches.reduce((total, each) => total + each, 0);
      expect(standing.reduce((total, file) => total + file.ids, 0)).toBe(ids);
      expect(standing.length).toBeLessThanOrEqual(INDEX_FILES_MAX);
      expect(written).toBeLessThanOrEqual(ids * (Math.log2(ids) + 1));
    }),
  );
});
