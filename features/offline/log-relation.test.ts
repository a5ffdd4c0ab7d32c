import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ColumnSpec } from '../../domain/project/spec.ts';
import { DuckDb, textSql } from './duckdb.ts';
import { logRelationSql } from './log-relation.ts';

let workDir: string;
let duckdb: DuckDb;

beforeAll(async () => {
  workDir = await mkdtemp(join(tmpdir(), 'serin-log-'));
  duckdb = await DuckDb.open({ memory: '200MB', threads: 1, tempDir: workDir });
});

afterAll(async () => {
  duckdb.close();
  await rm(workDir, { recursive: true, force: true });
});

const LOG = '1::BIGINT AS event_at, 2::BIGINT AS available_at, uuid() AS event_id';

function column(name: string, type: ColumnSpec['type']): ColumnSpec {
  return { name, type, nullable: true, pii: false, description: '' };
}

async function aFile(name: string, select: string): Promise<string> {
  const path = join(workDir, `${name}.parquet`);
  await duckdb.run(`COPY (SELECT ${LOG}, ${select}) TO ${textSql(path)} (FORMAT parquet)`);
  return path;
}

async function read(paths: readonly string[], columns: readonly ColumnSpec[]): Promise<Record<string, unknown>[]> {
  return duckdb.rows(`SELECT * EXCLUDE (event_id) FROM ${logRelationSql(paths, { columns })} ORDER BY ingest_seq`);
}

test('files of different ages read as one log of the present columns', async () => {
  const old = await aFile('old', `1::BIGINT AS ingest_seq, 5::BIGINT AS total, 'a' AS name`);
  const recent = await aFile(
    'recent',
    `2::BIGINT AS ingest_seq, 1::UTINYINT AS op, NULL::VARCHAR AS name, 5.5::DOUBLE AS total, true AS paid`,
  );
  const columns = [column('paid', 'bool'), column('name', 'str'), column('total', 'f64'), column('note', 'str')];
  const times = { event_at: 1, available_at: 2 };
  const expected = [
    { ...times, ingest_seq: 1, op: 0, paid: null, name: 'a', total: 5, note: null },
    { ...times, ingest_seq: 2, op: 1, paid: true, name: null, total: 5.5, note: null },
  ];
  expect(await read([old, recent], columns)).toEqual(expected);
  expect(await read([recent, old], columns)).toEqual(expected);
  expect(await read([old], columns)).toEqual(expected.slice(0, 1));
  expect(Object.keys(expected[0]!)).toEqual(Object.keys((await read([old], columns))[0]!));
});

test('columns have their declared types, also where no file has them or there is no file', async () => {
  const old = await aFile('typed', '1::BIGINT AS ingest_seq, 5::BIGINT AS total');
  const columns = [
    column('total', 'f64'),
    column('at', 'ts'),
    column('n', 'i64'),
    column('b', 'bool'),
    column('s', 'str'),
  ];
  const types = { total: 'DOUBLE', at: 'BIGINT', n: 'BIGINT', b: 'BOOLEAN', s: 'VARCHAR' };
  const log = { event_at: 'BIGINT', available_at: 'BIGINT', ingest_seq: 'BIGINT', event_id: 'UUID', op: 'UTINYINT' };
  for (const paths of [[], [old]]) {
    const described = await duckdb.rows(`DESCRIBE SELECT * FROM ${logRelationSql(paths, { columns })}`);
    expect(described.map((row) => [row['column_name'], row['column_type']])).toEqual(
      Object.entries({ ...log, ...types }),
    );
  }
  expect(await read([], columns)).toEqual([]);
});
