import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RecordedPrediction } from '../db/prediction-exports.ts';
import { partPath } from '../domain/prediction-part.ts';
import { DuckDb } from '../features/offline/duckdb.ts';
import { FileBlobStore } from '../platform/file-blob-store.ts';
import { type PredictionFileWork, readPart, rewritePart, writeParts } from './prediction-files.ts';

let work: PredictionFileWork;
beforeAll(async () => {
  const workDir = await mkdtemp(join(tmpdir(), 'serin-parts-'));
  const duckdb = await DuckDb.open({ memory: '300MB', threads: 1, tempDir: workDir });
  work = { blobs: new FileBlobStore(join(workDir, 'blobs')), workDir, duckdb };
});
afterAll(async () => {
  work.duckdb.close();
  await rm(work.workDir, { recursive: true });
});

const DAY = 86_400_000_000;
const finite = fc.double({ noNaN: true, noDefaultInfinity: true });
// what PostgreSQL takes as text
const text = fc.string({ unit: 'grapheme', minLength: 1 }).filter((value) => !value.includes('\0'));
const prediction: fc.Arbitrary<RecordedPrediction> = fc.record({
  predictionId: text,
  model: fc.constant('delay'),
  version: fc.nat(9),
  arm: fc.constantFrom('champion', 'canary', 'shadow', 'override'),
  rung: fc.constantFrom('champion', 'rule'),
  reason: fc.option(fc.constantFrom('timeout', 'error')),
  servedModel: fc.option(text),
  epoch: fc.nat(),
  unit: text,
  asOf: fc.integer({ min: 0, max: 3 * DAY }),
  answeredAt: fc.integer({ min: 0, max: 3 * DAY - 1 }),
  recordedAt: fc.integer({ min: 1, max: 3 * DAY }),
  score: finite,
  sampleWeight: fc.constantFrom(1, 50),
  features: fc.array(fc.option(finite), { maxLength: 5 }),
  statuses: fc.array(fc.nat(5), { maxLength: 5 }),
  request: fc.dictionary(
    fc.constantFrom('origin', 'distance', 'known'),
    fc.oneof(text, finite, fc.boolean(), fc.constant(null)),
    {
      noNullPrototype: true,
    },
  ),
  redacted: fc.array(text, { maxLength: 2 }),
  latencyMicros: fc.nat(),
  error: fc.option(text),
  known: fc.option(
    fc.record({
      knownSeq: fc.dictionary(fc.constantFrom('a@1', 'b@1'), fc.nat(), { noNullPrototype: true }),
      readAt: fc.integer({ min: 0, max: DAY }),
    }),
  ),
  traceId: fc.option(text),
});
const predictions = fc.uniqueArray(prediction, {
  minLength: 1,
  maxLength: 20,
  selector: ({ predictionId, arm }) => `${predictionId} ${arm}`,
});

const sorted = (rows: readonly RecordedPrediction[]) =>
  rows.toSorted(
    (a, b) => Buffer.compare(Buffer.from(a.predictionId), Buffer.from(b.predictionId)) || (a.arm < b.arm ? -1 : 1),
  );
/** −0 is 0 in JSON and so in the table already. */
const plain = (rows: readonly RecordedPrediction[]) => JSON.parse(JSON.stringify(rows)) as unknown;

test('what is written for each day is what is read again, all of it or by its id', async () => {
  await fc.assert(
    fc.asyncProperty(predictions, async (rows) => {
      const parts = await writeParts(rows, { model: 'delay', range: { from: 1, to: 2 }, at: 9 }, work);
      expect(new Set(parts.map(({ day }) => day)).size).toBe(parts.length);
      const back: RecordedPrediction[] = [];
      for (const part of parts) {
        const own = await readPart(part.file, work);
        expect(own).toHaveLength(part.rows);
        expect(own.every(({ answeredAt }) => new Date(answeredAt / 1_000).toISOString().startsWith(part.day))).toBe(
          true,
        );
        expect([part.firstId, part.lastId]).toEqual([own[0]!.predictionId, own.at(-1)!.predictionId]);
        back.push(...own);
      }
      expect(plain(sorted(back))).toEqual(plain(sorted(rows)));
      const [one] = rows;
      const found = await Promise.all(parts.map(({ file }) => readPartAlone(file, one!.predictionId)));
      expect(found.flat()).toHaveLength(rows.filter(({ predictionId }) => predictionId === one!.predictionId).length);
    }),
    { numRuns: 40 },
  );
});

/** DuckDB is used from one place at a time. */
let before: Promise<unknown> = Promise.resolve();
function readPartAlone(file: Parameters<typeof readPart>[0], id: string): Promise<RecordedPrediction[]> {
  const read = before.then(() => readPart(file, work, id));
  before = read;
  return read;
}

test('a part without some rows keeps the others; without all of them it is none', async () => {
  const rows = fc.sample(predictions, { numRuns: 1, seed: 4 })[0]!.map((row) => ({ ...row, answeredAt: 5 }));
  const [part] = await writeParts(rows, { model: 'delay', range: { from: 1, to: 2 }, at: 9 }, work);
  const stored = await readPart(part!.file, work);
  const gone = stored[0]!;
  const by = await rewritePart(stored, (row) => row !== gone, work);
  expect(by?.rows ?? 0).toBe(rows.length - 1);
  if (by !== null) expect(await readPart(by.file, work)).toEqual(stored.slice(1));
  expect(await rewritePart(stored, () => false, work)).toBeNull();
});

test('parts lie as Hive would have them', () => {
  expect(partPath({ model: 'flight-delay', day: '2026-11-21', from: 7 })).toBe(
    'model=flight-delay/date=2026-11-21/part-7.parquet',
  );
});
