import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { DuckDb, doubleSql } from './duckdb.ts';

async function aDuckDb(): Promise<DuckDb> {
  const duckdb = await DuckDb.open({
    memory: '200MB',
    threads: 1,
    tempDir: await mkdtemp(join(tmpdir(), 'serin-duckdb-')),
  });
  onTestFinished(() => duckdb.close());
  return duckdb;
}

test('columns come out as doubles: instants exact, null as NaN, over several chunks', async () => {
  const duckdb = await aDuckDb();
  const seen: number[][] = [];
  const last = 9_007_199_254_740_991;
  for await (const { rows, columns } of duckdb.doubles(
    `SELECT ${doubleSql('i')} AS i, ${doubleSql(`CASE WHEN i % 2 = 0 THEN CAST(${last} AS BIGINT) - i END`)} AS x FROM range(5000) t(i) ORDER BY i`,
  )) {
    for (let i = 0; i < rows; i++) seen.push([columns[0]![i]!, columns[1]![i]!]);
  }
  expect(seen).toEqual(Array.from({ length: 5000 }, (_, i) => [i, i % 2 === 0 ? last - i : NaN]));
});

test('appended doubles are what is read back', async () => {
  const duckdb = await aDuckDb();
  const column = Float64Array.from({ length: 4099 }, (_, i) => (i % 7 === 0 ? NaN : i / 3));
  await duckdb.run('CREATE TABLE numbers (i DOUBLE, x DOUBLE)');
  const writer = await duckdb.openDoubles('numbers', 2);
  column.forEach((value, i) => writer.add([i, value]));
  writer.close();
  const read: number[] = [];
  for await (const { rows, columns } of duckdb.doubles('SELECT x FROM numbers ORDER BY i'))
    read.push(...columns[0]!.subarray(0, rows));
  expect(read).toEqual([...column]);
});

test('an integer beyond 2^53 is refused rather than rounded', async () => {
  const duckdb = await aDuckDb();
  await expect(duckdb.rows('SELECT CAST(9007199254740993 AS BIGINT) AS big')).rejects.toThrow(RangeError);
  expect(await duckdb.rows(`SELECT 1 AS one, 'x' AS text, TRUE AS yes, NULL AS nothing`)).toEqual([
    { one: 1, text: 'x', yes: true, nothing: null },
  ]);
});
