/** Rows that are in memory as a DuckDB table, every value as it is: no text in between. */
import { BIGINT, BOOLEAN, DOUBLE, type DuckDBType, type DuckDBValue, VARCHAR } from '@duckdb/node-api';
import { type ColumnType, quoteIdentifier } from '../../../domain/project/expression.ts';
import type { Datum } from '../../history/fact.ts';
import { SQL_TYPES } from '../ingest-sql.ts';
import type { DuckDb } from '../duckdb.ts';

const DRIVER_TYPES: Readonly<Record<ColumnType, DuckDBType>> = {
  i64: BIGINT,
  ts: BIGINT,
  f64: DOUBLE,
  bool: BOOLEAN,
  str: VARCHAR,
};

/**
 * Makes a temporary table with these columns and rows.
 * @param rows one array per row, in the order of the columns
 * @throws RangeError when an `i64` or `ts` does not fit into 64 bits or is not whole
 */
export async function createTypedTable(
  duckdb: DuckDb,
  table: string,
  columns: readonly { readonly name: string; readonly type: ColumnType }[],
  rows: readonly (readonly Datum[])[],
): Promise<void> {
  const declared = columns.map(({ name, type }) => `${quoteIdentifier(name)} ${SQL_TYPES[type]}`);
  await duckdb.run(`CREATE OR REPLACE TEMP TABLE ${quoteIdentifier(table)} (${declared.join(', ')})`);
  const types = columns.map(({ type }) => DRIVER_TYPES[type]);
  await duckdb.append(
    table,
    types,
    columns.map(({ type }, c) => rows.map((row) => driverValue(type, row[c] ?? null))),
  );
}

const [LEAST, GREATEST] = [-(2n ** 63n), 2n ** 63n - 1n];

function driverValue(type: ColumnType, value: Datum): DuckDBValue {
  if (value === null || (type !== 'i64' && type !== 'ts')) return value;
  const whole = BigInt(value);
  if (whole < LEAST || whole > GREATEST) throw new RangeError(`${whole} does not fit into 64 bits`);
  return whole;
}
