/** Opens a batch file: what relation it is in SQL, and whether its columns can be the source's at all. */
import { SerinError } from '../../domain/errors.ts';
import { columnsOfRemovals, type RowReasonCode } from '../../domain/features/row-contract.ts';
import { TIME_RULES } from '../../domain/features/time-text.ts';
import { quoteIdentifier } from '../../domain/project/expression.ts';
import type { SourceSpec } from '../../domain/project/spec.ts';
import type { Session } from './ingest-session.ts';
import { acceptsSqlType, type ColumnInput, isWallClock, literal } from './ingest-sql.ts';

/** `csv`: comma, double quotes, a header; an empty field is null, `""` is an empty text. `jsonl`: one object per line. */
export type InputFormat = 'parquet' | 'csv' | 'jsonl';

export interface OpenedInput {
  readonly relation: string;
  /** One per column of the source, in its order. */
  readonly inputs: readonly ColumnInput[];
  readonly json: string | null;
  readonly rowFaults: readonly { readonly condition: string; readonly code: RowReasonCode; readonly rule: string }[];
}

/** @throws INPUT_INVALID COLUMN_UNKNOWN COLUMN_TYPE TIME_NO_ZONE */
export async function openInput(
  session: Session,
  source: SourceSpec,
  { path, format }: { readonly path: string; readonly format: InputFormat },
): Promise<OpenedInput> {
  try {
    return format === 'jsonl' ? await openLines(session, source, path) : await openTable(session, source, path, format);
  } catch (cause) {
    if (cause instanceof SerinError) throw cause;
    const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw new SerinError('INPUT_INVALID', `the ${format} file ${path} cannot be read: ${reason}`, {
      cause,
      fields: { path, format },
    });
  }
}

async function openTable(
  session: Session,
  source: SourceSpec,
  path: string,
  format: 'parquet' | 'csv',
): Promise<OpenedInput> {
  const relation =
    format === 'parquet'
      ? `read_parquet(${literal(path)})`
      : `read_csv(${literal(path)}, all_varchar = true, header = true, delim = ',', quote = '"', escape = '"', nullstr = '', allow_quoted_nulls = false)`;
  const described = await session.rows(`DESCRIBE SELECT * FROM ${relation}`);
  const types = new Map(described.map((row) => [String(row['column_name']), String(row['column_type'])]));
  refuseUnknown(source, [...types.keys()]);
  const inputs = source.columns.map((column): ColumnInput => {
    const sqlType = types.get(column.name);
    if (sqlType === undefined) {
      refuseMissing(source, column.name);
      return { column, raw: null, encoding: 'text', sqlType: 'VARCHAR', missing: null };
    }
    if (format === 'parquet') refuseType(source, column.name, sqlType);
    return {
      column,
      raw: quoteIdentifier(column.name),
      encoding: format === 'csv' ? 'text' : 'typed',
      sqlType,
      missing: null,
    };
  });
  return { relation, inputs, json: null, rowFaults: [] };
}

async function openLines(session: Session, source: SourceSpec, path: string): Promise<OpenedInput> {
  const relation = `read_ndjson_objects(${literal(path)})`;
  const keys = await session.rows(`SELECT DISTINCT unnest(json_keys(json)) AS name FROM ${relation} ORDER BY name`);
  const names = new Set(keys.map((row) => String(row['name'])));
  refuseUnknown(source, [...names]);
  const inputs = source.columns.map((column): ColumnInput => {
    // a file without lines is an empty batch and lacks nothing
    if (names.size > 0 && !names.has(column.name)) refuseMissing(source, column.name);
    const pointer = literal(`/${column.name.replaceAll('~', '~0').replaceAll('/', '~1')}`);
    const raw = `json_extract(json, ${pointer})`;
    return { column, raw, encoding: 'json', sqlType: 'JSON', missing: `${raw} IS NULL` };
  });
  const rowFaults = [
    { condition: `json_type(json) <> 'OBJECT'`, code: 'COLUMN_TYPE', rule: 'a line is one JSON object' },
    {
      condition: `len(json_keys(json)) <> len(list_distinct(json_keys(json)))`,
      code: 'COLUMN_UNKNOWN',
      rule: 'a column is named once',
    },
  ] as const;
  return { relation, inputs, json: 'json', rowFaults };
}

function refuseUnknown(source: SourceSpec, names: readonly string[]): void {
  const known = source.columns.map(({ name }) => name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  const detail = `the file has the column ${quotedList(unknown)}, which the source ${source.name} does not know; it has ${known.join(', ')}`;
  throw new SerinError('COLUMN_UNKNOWN', detail, { fields: { source: source.name, columns: unknown } });
}

function refuseMissing(source: SourceSpec, name: string): void {
  const column = source.columns.find((candidate) => candidate.name === name)!;
  if (column.nullable && name !== source.eventAt) return;
  // a file of removals alone; its events, if it has any, are refused one by one
  if (source.operation !== undefined && !columnsOfRemovals(source).has(name)) return;
  const detail = `the file has no column "${name}", which the source ${source.name} requires`;
  throw new SerinError('COLUMN_UNKNOWN', detail, { fields: { source: source.name, columns: [name] } });
}

function refuseType(source: SourceSpec, name: string, sqlType: string): void {
  const { type } = source.columns.find((column) => column.name === name)!;
  const fields = { source: source.name, column: name, type, found: sqlType };
  if (!acceptsSqlType(type, sqlType)) {
    const detail = `the column "${name}" is ${sqlType} in the file, which cannot be the ${type} of the source ${source.name}`;
    throw new SerinError('COLUMN_TYPE', detail, { fields });
  }
  if (type === 'ts' && isWallClock(sqlType) && source.zone === null) {
    const detail = `the column "${name}" has wall-clock times (${sqlType}) and the source ${source.name} declares no zone: ${TIME_RULES.TIME_NO_ZONE}`;
    throw new SerinError('TIME_NO_ZONE', detail, { fields });
  }
}

function quotedList(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(', ');
}
