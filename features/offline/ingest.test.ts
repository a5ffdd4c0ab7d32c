import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BlobRef } from '../../domain/blob.ts';
import { OPERATIONS } from '../../domain/features/log-file.ts';
import {
  createEventIdentity,
  createRowContract,
  createVersionIdentity,
  eventIdOfDigest,
} from '../../domain/features/row-contract.ts';
import type { SourceSpec } from '../../domain/project/spec.ts';
import { FileBlobStore } from '../../platform/file-blob-store.ts';
import { DuckDb, textSql } from './duckdb.ts';
import { type BufferedEvent, ingestBuffered, ingestFile, type IngestInput, type IngestResult } from './ingest.ts';

let workDir: string;
let blobs: FileBlobStore;
let duckdb: DuckDb;
let files = 0;

beforeAll(async () => {
  workDir = await mkdtemp(join(tmpdir(), 'serin-ingest-'));
  blobs = new FileBlobStore(join(workDir, 'blobs'));
  duckdb = await DuckDb.open({ memory: '500MB', threads: 2, tempDir: join(workDir, 'spill') });
});

afterAll(async () => {
  duckdb.close();
  await rm(workDir, { recursive: true, force: true });
});

function aSource(overrides: Partial<SourceSpec> = {}): SourceSpec {
  const column = { nullable: false, pii: false, description: '' };
  return {
    name: 'flights',
    description: '',
    owner: 'ops',
    columns: [
      { ...column, name: 'date', type: 'ts' },
      { ...column, name: 'delay', type: 'i64', min: -120, max: 1440 },
      { ...column, name: 'distance', type: 'f64', min: 0 },
      { ...column, name: 'origin', type: 'str' },
      { ...column, name: 'diverted', type: 'bool', nullable: true },
    ],
    eventAt: 'date',
    zone: 'UTC',
    availableAt: {
      op: 'plusMinutes',
      at: { op: 'column', name: 'date' },
      minutes: {
        op: 'greatest',
        of: [
          { op: 'column', name: 'delay' },
          { op: 'literal', value: 0, type: 'i64' },
        ],
      },
    },
    eventId: ['date', 'delay', 'distance', 'origin', 'diverted'],
    freshnessSlaSeconds: 3600,
    ...overrides,
  };
}

function aFlight(overrides: Record<string, unknown> = {}): Record<string, unknown> {
  return { date: '2001-01-01T08:00:00', delay: 5, distance: 300, origin: 'SFO', diverted: null, ...overrides };
}

async function writeLines(events: readonly unknown[]): Promise<string> {
  const path = join(workDir, `input-${files++}.jsonl`);
  await writeFile(path, events.map((event) => `${JSON.stringify(event)}\n`).join(''));
  return path;
}

async function ingest(overrides: Partial<IngestInput> & Pick<IngestInput, 'input'>): Promise<IngestResult> {
  return ingestFile({
    source: aSource(),
    batchId: 'batch',
    firstSeq: 1,
    existing: [],
    blobs,
    workDir,
    duckdb,
    ...overrides,
  });
}

async function ingestLines(events: readonly unknown[], overrides: Partial<IngestInput> = {}): Promise<IngestResult> {
  return ingest({ input: { path: await writeLines(events), format: 'jsonl' }, ...overrides });
}

async function rowsOf(blob: BlobRef): Promise<Record<string, unknown>[]> {
  return duckdb.rows(
    `SELECT * REPLACE (CAST(event_id AS VARCHAR) AS event_id) FROM read_parquet(${textSql(await blobs.localPath(blob))})`,
  );
}

async function logOf({ logFiles }: Pick<IngestResult, 'logFiles'>): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  for (const { blob } of logFiles) rows.push(...(await rowsOf(blob)));
  return rows;
}

async function quarantineOf({ quarantineFile }: IngestResult): Promise<{ row: number; reasons: string[] }[]> {
  if (quarantineFile === null) return [];
  const rows = await duckdb.rows(
    `SELECT input_row, reasons FROM read_parquet(${textSql(await blobs.localPath(quarantineFile))}) ORDER BY input_row`,
  );
  return rows.map(({ input_row, reasons }) => ({
    row: Number(input_row),
    reasons: (JSON.parse(String(reasons)) as { code: string; column: string | null }[]).map(
      ({ code, column }) => `${code} ${column ?? 'row'}`,
    ),
  }));
}

function eventIdOf(source: SourceSpec, row: BufferedEvent['row']): string {
  return eventIdOfDigest(createHash('sha256').update(createEventIdentity(source)(row)).digest('hex'));
}

describe('a batch from a file', () => {
  test('rows that keep the contract are numbered by availability and typed', async () => {
    const result = await ingestLines([aFlight({ delay: 30 }), aFlight({ delay: 10, diverted: true })], { firstSeq: 7 });
    expect(result).toMatchObject({
      rowsIn: 2,
      rowsAccepted: 2,
      duplicates: 0,
      quarantineFile: null,
      firstSeq: 7,
      lastSeq: 8,
    });
    const at = Date.parse('2001-01-01T08:00:00Z') * 1000;
    const [first, second] = await rowsOf(result.logFiles[0]!.blob);
    expect(first).toMatchObject({
      event_at: at,
      available_at: at + 600e6,
      ingest_seq: 7,
      date: at,
      delay: 10,
      diverted: true,
    });
    expect(second).toMatchObject({
      available_at: at + 1800e6,
      ingest_seq: 8,
      distance: 300,
      origin: 'SFO',
      diverted: null,
    });
    expect(result.logFiles[0]).toMatchObject({
      rows: 2,
      firstSeq: 7,
      lastSeq: 8,
      minEventAt: at,
      maxAvailableAt: at + 1800e6,
    });
  });

  test('the same batch gives the same bytes, whatever the order of its rows', async () => {
    const events = Array.from({ length: 500 }, (_, i) => aFlight({ delay: (i * 7919) % 1000, origin: `A${i % 40}` }));
    const once = await ingestLines([...events, aFlight({ delay: 9999 })]);
    const again = await ingestLines([...events, aFlight({ delay: 9999 })]);
    const shuffled = await ingestLines([...events.toReversed(), aFlight({ delay: 9999 })]);
    expect(again.logFiles).toEqual(once.logFiles);
    expect(again.quarantineFile).toEqual(once.quarantineFile);
    expect(shuffled.logFiles).toEqual(once.logFiles);
  });

  test('a duplicate in the batch or of the log is quarantined', async () => {
    const first = await ingestLines([aFlight(), aFlight(), aFlight({ delay: 6 })]);
    expect(first).toMatchObject({ rowsAccepted: 2, duplicates: 1, quarantined: { DUPLICATE: 1 } });
    const second = await ingestLines([aFlight({ delay: 6 }), aFlight({ delay: 7 })], {
      existing: first.logFiles,
      firstSeq: 3,
    });
    expect(second).toMatchObject({ rowsAccepted: 1, duplicates: 1, quarantined: { DUPLICATE: 1 }, lastSeq: 3 });
    expect(await quarantineOf(second)).toEqual([{ row: 1, reasons: ['DUPLICATE row'] }]);
  });

  test('a bad row is quarantined with all its reasons', async () => {
    const result = await ingestLines([
      aFlight(),
      aFlight({ date: '2001-02-30T00:00:00Z', delay: 1441, distance: null }),
    ]);
    expect(result).toMatchObject({
      rowsIn: 2,
      rowsAccepted: 1,
      quarantined: { TIME_INVALID: 1, VALUE_NULL: 1, VALUE_RANGE: 1 },
    });
    expect(await quarantineOf(result)).toEqual([
      { row: 2, reasons: ['TIME_INVALID date', 'VALUE_RANGE delay', 'VALUE_NULL distance'] },
    ]);
  });

  test('an empty file is an empty batch', async () => {
    expect(await ingestLines([])).toMatchObject({ rowsIn: 0, rowsAccepted: 0, logFiles: [], lastSeq: 0 });
  });

  test('CSV: text is read by the declared types, an empty field is null', async () => {
    const path = join(workDir, 'input.csv');
    await writeFile(
      path,
      'date,delay,distance,origin,diverted\n2001-01-01T08:00:00Z,5,3e2,"S,O",\n2001-01-01T08:00:00Z,5.0,300,,true\n2001-01-01 08:00:00,5,NaN,"",false\n',
    );
    const result = await ingest({ input: { path, format: 'csv' } });
    expect(await quarantineOf(result)).toEqual([
      { row: 2, reasons: ['COLUMN_TYPE delay', 'VALUE_NULL origin'] },
      { row: 3, reasons: ['VALUE_NOT_FINITE distance'] },
    ]);
    const [row] = await rowsOf(result.logFiles[0]!.blob);
    expect(row).toMatchObject({ delay: 5, distance: 300, origin: 'S,O', diverted: null });
  });

  test('Parquet: timestamps with and without zone, numbers, NaN', async () => {
    const path = join(workDir, 'input.parquet');
    await duckdb.run(
      `COPY (SELECT TIMESTAMP '2001-01-01 08:00:00' + INTERVAL (i) MINUTE AS date, CAST(i AS SMALLINT) AS delay, CASE WHEN i = 2 THEN 'NaN'::FLOAT ELSE 7.5::FLOAT END AS distance, 'SFO' AS origin FROM range(3) t(i)) TO ${textSql(path)} (FORMAT parquet)`,
    );
    const local = await ingest({ input: { path, format: 'parquet' } });
    expect(local).toMatchObject({ rowsAccepted: 2, quarantined: { VALUE_NOT_FINITE: 1 } });
    const newYork = await ingest({ input: { path, format: 'parquet' }, source: aSource({ zone: 'America/New_York' }) });
    expect(newYork.logFiles[0]!.minEventAt - local.logFiles[0]!.minEventAt).toBe(5 * 3600e6);
    await expect(ingest({ input: { path, format: 'parquet' }, source: aSource({ zone: null }) })).rejects.toMatchObject(
      {
        code: 'TIME_NO_ZONE',
        fields: { column: 'date' },
      },
    );
  });
});

describe('a file that cannot be the source', () => {
  test.each([
    ['an unknown column', [aFlight({ gate: 'B7' })], 'COLUMN_UNKNOWN', /"gate"/],
    ['a missing column', [{ ...aFlight(), origin: undefined }], 'COLUMN_UNKNOWN', /"origin"/],
    [
      'a column of another type',
      [aFlight({ date: '2001-01-01T00:00:00Z', delay: '5' })],
      'COLUMN_TYPE',
      /"delay".*"5"/,
    ],
    ['times without a zone', [aFlight({ date: '2001-01-01T00:00:00' })], 'TIME_NO_ZONE', /"date"/],
  ] as const)('%s refuses the batch', async (_, events, code, message) => {
    const refused = ingestLines(events, { source: aSource({ zone: null }) });
    await expect(refused).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test('a Parquet column of another type, a truncated file and broken JSON are refused', async () => {
    const path = join(workDir, 'wrong.parquet');
    await duckdb.run(
      `COPY (SELECT 1.5 AS delay, now() AS date, 1 AS distance, 'x' AS origin) TO ${textSql(path)} (FORMAT parquet)`,
    );
    await expect(ingest({ input: { path, format: 'parquet' } })).rejects.toMatchObject({ code: 'COLUMN_TYPE' });
    const broken = join(workDir, 'broken');
    await writeFile(broken, 'PAR1 this is no Parquet');
    await expect(ingest({ input: { path: broken, format: 'parquet' } })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
    });
    await writeFile(broken, '{"date": ');
    await expect(ingest({ input: { path: broken, format: 'jsonl' } })).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  });

  test('a source whose columns DuckDB could not tell apart is refused', async () => {
    const [column] = aSource().columns;
    const source = aSource({ columns: [column!, { ...column!, name: 'Date' }] });
    await expect(ingestLines([aFlight()], { source })).rejects.toMatchObject({ code: 'SPEC_INVALID' });
  });

  test('a cancelled ingestion stores nothing', async () => {
    const controller = new AbortController();
    controller.abort();
    await expect(ingestLines([aFlight()], { signal: controller.signal })).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

describe('the contract in SQL', () => {
  const times = fc.oneof(
    fc.constantFrom(
      '2001-01-01T00:00:00',
      '2001-01-01T00:00:00Z',
      '2001-04-01T02:30:00',
      '2001-10-28T01:30:00',
      '2001-10-28T01:30:00-05:00',
      '2001-01-01T00:00:00.1234567Z',
      '2001-01-01T00:00:00.12345600z',
      '2001-02-29T00:00:00Z',
      '2001-01-01T24:00:00Z',
      '2001-01-01T00:00:60Z',
      '0000-01-01T00:00:00Z',
      '1500-01-01T00:00:00Z',
      '2300-01-01T00:00:00Z',
      '2001-01-01T00:00:00+24:00',
      '2001-01-01T00:00:00+01:60',
      '2001-01-01',
      '',
    ),
    fc
      .record({
        day: fc.integer({ min: 0, max: 365 }),
        minute: fc.integer({ min: 0, max: 1439 }),
        tail: fc.constantFrom('', 'Z', '.5', '-03:30'),
      })
      .map(
        ({ day, minute, tail }) =>
          new Date(978_307_200_000 + day * 86_400_000 + minute * 60_000).toISOString().slice(0, 19) + tail,
      ),
  );
  const strange = fc.constantFrom<unknown>(
    null,
    true,
    'text',
    1.5,
    -0.5,
    1e300,
    2 ** 53,
    [1],
    { a: 1 },
    'nul\0',
    undefined,
  );
  const value = <T>(good: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
    fc.oneof({ weight: 6, arbitrary: good as fc.Arbitrary<unknown> }, { weight: 1, arbitrary: strange });
  const events = fc.record({
    date: value(times),
    delay: value(fc.oneof(fc.integer({ min: -200, max: 1500 }), fc.constantFrom(-120, 1440, -121, 1441))),
    distance: value(fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constantFrom(0, -0, 5e-324))),
    origin: value(fc.string({ unit: 'grapheme', maxLength: 6 })),
    diverted: value(fc.boolean()),
  });

  test('lets removals lack what the row contract lets them lack, and tells the same rows apart', async () => {
    const source = aSource({
      zone: 'UTC',
      revisions: 'versions',
      operation: { column: 'origin', retract: 'retract', tombstone: 'end' },
      eventId: ['date'],
      availableAt: { op: 'column', name: 'date' },
    });
    const keys = [['diverted'], ['delay', 'distance']];
    const contract = createRowContract(source, keys);
    const versionOf = createVersionIdentity(source);
    const rows = fc.record({
      date: fc.constantFrom('2001-01-01T00:00:00Z', '2001-01-02T00:00:00Z', null),
      delay: fc.constantFrom(1, 2, null, undefined, 'text'),
      distance: fc.constantFrom(1, 2, null, undefined),
      origin: fc.constantFrom('retract', 'end', 'SFO', null, true),
      diverted: fc.constantFrom(true, null, undefined),
    });
    const batches = fc
      .array(rows, { maxLength: 40 })
      .map((batch) => [aFlight({ date: '1999-01-01T00:00:00Z', diverted: true }), ...batch]);
    await fc.assert(
      fc.asyncProperty(batches, async (batch) => {
        const sent = batch.map((event) => JSON.parse(JSON.stringify(event)) as Record<string, unknown>);
        const result = await ingestLines(sent, { source, keys });
        const checks = sent.map((event) => contract.check(event));
        const refused = checks.flatMap((check, i) =>
          check.ok
            ? []
            : [{ row: i + 1, reasons: check.reasons.map(({ code, column }) => `${code} ${column ?? 'row'}`) }],
        );
        const quarantined = await quarantineOf(result);
        expect(quarantined.filter(({ reasons }) => reasons[0] !== 'DUPLICATE row')).toEqual(refused);
        const accepted = new Map<string, object>();
        for (const check of checks) {
          if (!check.ok) continue;
          const { row, eventAt, availableAt, operation } = check;
          const version = versionOf(row, operation, availableAt)!;
          if (accepted.has(version)) continue;
          const times = { event_at: eventAt, available_at: availableAt, op: OPERATIONS.indexOf(operation) };
          accepted.set(version, { event_id: eventIdOf(source, row), ...times, ...row });
        }
        const stored = await logOf(result);
        expect(stored.map(({ ingest_seq: _, ...row }) => row)).toEqual(
          [...accepted.values()].toSorted(
            (a, b) => (a as { available_at: number }).available_at - (b as { available_at: number }).available_at,
          ),
        );
      }),
      { numRuns: 40 },
    );
  });

  test.each(['UTC', 'America/New_York', null])(
    'accepts, refuses, times and identifies the same rows as the row contract (zone %s)',
    async (zone) => {
      const source = aSource({ zone });
      const contract = createRowContract(source);
      // one row that is good whatever the zone, so that no column is unreadable as a whole
      const batches = fc
        .array(events, { maxLength: 60 })
        .map((batch) => [aFlight({ date: '1999-01-01T00:00:00Z', diverted: true }), ...batch]);
      await fc.assert(
        fc.asyncProperty(batches, async (batch) => {
          const sent = batch.map((event) => JSON.parse(JSON.stringify(event)) as Record<string, unknown>);
          const checks = sent.map((event) => contract.check(event));
          const result = await ingestLines(sent, { source });
          const refused = checks.flatMap((check, i) =>
            check.ok
              ? []
              : [{ row: i + 1, reasons: check.reasons.map(({ code, column }) => `${code} ${column ?? 'row'}`) }],
          );
          const quarantined = await quarantineOf(result);
          expect(quarantined.filter(({ reasons }) => reasons[0] !== 'DUPLICATE row')).toEqual(refused);
          const accepted = new Map<string, object>();
          for (const check of checks) {
            if (!check.ok) continue;
            const { row, eventAt, availableAt } = check;
            accepted.set(eventIdOf(source, row), { event_at: eventAt, available_at: availableAt, op: 0, ...row });
          }
          const stored = await logOf(result);
          expect(new Map(stored.map(({ event_id, ingest_seq: _, ...row }) => [event_id, row]))).toEqual(accepted);
        }),
        { numRuns: 40 },
      );
    },
  );
});

test('pushed events keep their sequence and come out as a file batch would store them', async () => {
  const source = aSource();
  const contract = createRowContract(source);
  const sent = [
    aFlight({ delay: 30, distance: 0.1, origin: 'Zürich "ZRH" 🛬' }),
    aFlight({ delay: 10, diverted: false }),
    aFlight({ delay: -5 }),
  ];
  const rows = sent.map((event, i): BufferedEvent => {
    const check = contract.check(event);
    if (!check.ok) throw new Error('the event is good');
    return { ...check, seq: 100 + i * 3, eventId: eventIdOf(source, check.row) };
  });
  const files = await ingestBuffered({ source, rows, batchId: 'pushed', blobs, workDir, duckdb });
  expect(files).toMatchObject([{ rows: 3, firstSeq: 100, lastSeq: 106, availableOn: '2001-01-01' }]);
  const stored = await rowsOf(files[0]!.blob);
  expect(stored.map((row) => row['ingest_seq'])).toEqual([106, 103, 100]);
  const fromFile = await ingestLines(sent);
  const without = (all: Record<string, unknown>[]): object[] => all.map(({ ingest_seq: _, ...row }) => row);
  expect(without(stored)).toEqual(without(await rowsOf(fromFile.logFiles[0]!.blob)));
  expect(await ingestBuffered({ source, rows: [], batchId: 'none', blobs, workDir, duckdb })).toEqual([]);
});
