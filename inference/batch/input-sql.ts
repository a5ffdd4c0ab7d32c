/** The rows of a part as a relation of DuckDB: which columns they have, and what is made of them. */
import { messageOf, SerinError } from '../../domain/errors.ts';
import { type ColumnType, quoteIdentifier as quote } from '../../domain/project/expression.ts';
import type { RequestField } from '../../domain/project/spec.ts';
import type { SliceThresholds } from '../../domain/registry/post-processing.ts';
import type { ScoreJob } from '../../domain/scoring/score-job.ts';
import { type DuckDb, textSql } from '../../features/offline/duckdb.ts';
import { SQL_TYPES } from '../../features/offline/ingest-sql.ts';

/** The rows, in their order. */
export const INPUT = 'score_input';

const INTEGERS = ['TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'UTINYINT', 'USMALLINT', 'UINTEGER'];
const NUMBERS = [...INTEGERS, 'UBIGINT', 'HUGEINT', 'FLOAT', 'DOUBLE', 'BOOLEAN'];
const INSTANTS = ['TIMESTAMP WITH TIME ZONE', 'TIMESTAMP', 'TIMESTAMP_NS', 'TIMESTAMP_MS', 'TIMESTAMP_S'];
const TAKEN: Readonly<Record<ColumnType, readonly string[]>> = {
  str: ['VARCHAR'],
  i64: INTEGERS,
  f64: NUMBERS.filter((type) => type !== 'BOOLEAN'),
  bool: ['BOOLEAN'],
  ts: [...INTEGERS, ...INSTANTS],
};

/** Columns that a part adds to those of its input. */
export const OUTPUT_COLUMNS = ['prediction_id', 'as_of', 'version', 'score', 'label', 'class'] as const;

export type InputColumns = ReadonlyMap<string, string>;

/** Opens the rows of all slices as `INPUT`. @returns the types of the columns by name @throws INPUT_INVALID for what is no Parquet */
export async function openInput(duckdb: DuckDb, slices: ScoreJob['slices']): Promise<InputColumns> {
  const parts = slices.map(
    ({ path, from, to }) =>
      `SELECT * EXCLUDE (file_row_number) FROM read_parquet(${textSql(path)}, file_row_number = true)
       WHERE file_row_number >= ${from} AND file_row_number < ${to}`,
  );
  try {
    await duckdb.run(`CREATE VIEW ${INPUT} AS ${parts.join(' UNION ALL BY NAME ')}`);
  } catch (error) {
    throw new SerinError('INPUT_INVALID', `the input cannot be read: ${firstLine(error)}`, { cause: error });
  }
  const columns = await duckdb.rows(`SELECT column_name, column_type FROM (DESCRIBE ${INPUT})`);
  return new Map(columns.map((row) => [row['column_name'] as string, row['column_type'] as string]));
}

/** A ready feature as a number; null becomes NaN when it is read. */
export function featureSql(columns: InputColumns, name: string): string {
  const type = typeOf(columns, name, 'a feature of the version');
  if (!NUMBERS.includes(type) && !type.startsWith('DECIMAL')) throw wrongType(name, type, 'a number or a truth value');
  return quote(name);
}

/** A request field as its own type; what is not finite is missing, and −0 is 0, as for a request over HTTP. */
export function fieldSql(columns: InputColumns, { name, type }: RequestField): string {
  const found = typeOf(columns, name, 'a request field of the feature set');
  if (!TAKEN[type].includes(found) && !(type === 'f64' && found.startsWith('DECIMAL')))
    throw wrongType(name, found, TAKEN[type].slice(0, 3).join(', '));
  if (type === 'ts') return instantOf(quote(name), found);
  const value = `CAST(${quote(name)} AS ${SQL_TYPES[type]})`;
  return type === 'f64' ? `CASE WHEN ISFINITE(${value}) THEN ${value} + 0 END` : value;
}

/** Microseconds since the epoch; NULL where no instant was given. */
export function asOfSql(columns: InputColumns, asOf: ScoreJob['asOf']): string {
  if (asOf === null) return 'CAST(NULL AS BIGINT)';
  if (asOf.kind === 'fixed') return `CAST(${asOf.at} AS BIGINT)`;
  const type = typeOf(columns, asOf.column, 'where the instants of the rows are to be');
  if (!TAKEN.ts.includes(type))
    throw wrongType(asOf.column, type, 'a TIMESTAMP, or a whole number of microseconds since 1970');
  return instantOf(quote(asOf.column), type);
}

/** Position of a request field's value among those that have a threshold of their own; NULL for every other. @param value of the field's own type */
export function sliceSql(value: string, type: ColumnType, { thresholds }: SliceThresholds): string {
  const cases = Object.keys(thresholds).map((text, i) =>
    type === 'f64'
      ? `WHEN ${value} = CAST(${textSql(text)} AS DOUBLE) THEN ${i}`
      : `WHEN CAST(${value} AS VARCHAR) = ${textSql(text)} THEN ${i}`,
  );
  return cases.length === 0 ? 'NULL' : `CASE ${cases.join(' ')} END`;
}

/** What goes from the input into the output as it is. @throws INPUT_INVALID when one has the name of a column that is added */
export function passedColumns(columns: InputColumns, { asOf, manifest, featuresReady }: ScoreJob): string[] {
  const features = new Set(featuresReady ? manifest.featureNames : []);
  // said once, in microseconds
  if (asOf?.kind === 'column' && asOf.column === 'as_of') features.add('as_of');
  const passed = [...columns.keys()].filter((name) => !features.has(name));
  const clash = passed.find((name) => (OUTPUT_COLUMNS as readonly string[]).includes(name.toLowerCase()));
  if (clash === undefined) return passed;
  throw new SerinError('INPUT_INVALID', `the input has a column "${clash}", which the output is to have: rename it`, {
    fields: { field: clash },
  });
}

function typeOf(columns: InputColumns, name: string, what: string): string {
  const type = columns.get(name);
  if (type !== undefined) return type;
  throw new SerinError(
    'COLUMN_UNKNOWN',
    `the input has no column "${name}", ${what}; it has ${[...columns.keys()].join(', ')}`,
    { fields: { column: name } },
  );
}

function wrongType(name: string, type: string, expected: string): SerinError {
  return new SerinError('COLUMN_TYPE', `the column "${name}" of the input is ${type}, expected ${expected}`, {
    fields: { column: name, type },
  });
}

function instantOf(value: string, type: string): string {
  return INTEGERS.includes(type) ? `CAST(${value} AS BIGINT)` : `epoch_us(${value})`;
}

export function firstLine(error: unknown): string {
  return messageOf(error).split('\n', 1)[0]!;
}
