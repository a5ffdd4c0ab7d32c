/**
 * Rows of a dataset by a query of the project's author: one SELECT over the logs of the sources it names. It can read
 * nothing else and gives the same rows every time, or it is refused: it is looked at as a syntax tree first, and then runs
 * in a database of its own that may open only the log's files and cannot be told otherwise.
 */
import { join } from 'node:path';
import { messageOf, SerinError } from '../../domain/errors.ts';
import { type ColumnType, quoteIdentifier as quote } from '../../domain/project/expression.ts';
import type { SpineSpec } from '../../domain/project/spec.ts';
import type { DatasetDefinitions } from './dataset-definitions.ts';
import type { DatasetJob, SpineTask } from './dataset-job.ts';
import { openLog, requestColumn, SPINE_EVENTS, standingEventsSql } from './dataset-log.ts';
import { SQL_TYPES } from './ingest-sql.ts';
import { type DuckDb, type DuckDbSettings, fileListSql, textSql } from './duckdb.ts';

/** What DuckDB may call a column of each type. */
const FITTING: Readonly<Record<ColumnType, readonly string[]>> = {
  str: ['VARCHAR'],
  i64: ['TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'UTINYINT', 'USMALLINT', 'UINTEGER'],
  f64: ['FLOAT', 'DOUBLE'],
  bool: ['BOOLEAN'],
  ts: ['BIGINT'],
};

/** Functions that stand where tables do and read nothing. */
const TABLE_FUNCTIONS = new Set(['unnest', 'range', 'generate_series']);

/**
 * Makes view `SPINE_EVENTS`: row_id (by as_of, then all columns), as_of and `request <field>`.
 * @param open opens the database that the query runs in, closed when it has
 * @throws SPEC_INVALID naming what the query may not do or does not give
 */
export async function askSpineQuery(
  duckdb: DuckDb,
  { spine, featureSet, sources }: DatasetDefinitions,
  job: DatasetJob,
  task: SpineTask,
  open: (settings: DuckDbSettings) => Promise<DuckDb>,
): Promise<void> {
  await checkSpineQuery(duckdb, spine);
  const { text, sources: read } = spine.sql!;
  const path = join(task.folder, 'asked.parquet');
  // one thread and one order: what a query leaves open is the same every time too
  const sandbox = await open({ ...task.duckdb, threads: 1 });
  try {
    await sandbox.run('SET preserve_insertion_order = true');
    for (const source of sources.filter(({ name }) => read.includes(name))) {
      await openLog(sandbox, source, job);
      await sandbox.run(`
        CREATE VIEW ${quote(source.name)} AS
        SELECT event_at, available_at, ingest_seq, ${source.columns.map(({ name }) => quote(name)).join(', ')}
        FROM ${standingEventsSql(source, job.knowledgeCut)} WHERE available_at <= ${job.knowledgeCut.at}`);
    }
    const files = read.flatMap((name) => job.logs[name]!.paths);
    await sandbox.run(`SET allowed_paths = ${fileListSql([...files, path])}`);
    await sandbox.run('SET enable_external_access = false');
    await sandbox.run('SET lock_configuration = true');
    await checkColumns(sandbox, spine, featureSet.request);
    const fields = featureSet.request.map(
      ({ name, type }) => `CAST(${quote(name)} AS ${SQL_TYPES[type]}) AS ${requestColumn(name)}`,
    );
    const selected = ['as_of', ...fields].join(', ');
    const order = ['as_of', ...featureSet.request.map(({ name }) => requestColumn(name))].join(', ');
    await refused(spine, () =>
      sandbox.run(`
        COPY (SELECT ROW_NUMBER() OVER (ORDER BY ${order}) AS row_id, * FROM (SELECT ${selected} FROM (${text}) WHERE as_of IS NOT NULL))
        TO ${textSql(path)} (FORMAT parquet)`),
    );
  } finally {
    sandbox.close();
  }
  await duckdb.run(`CREATE VIEW ${SPINE_EVENTS} AS SELECT * FROM read_parquet(${textSql(path)})`);
}

/** What looks like a column and is asked of the session. */
const CLOCKS = new Set([
  'current_catalog',
  'current_date',
  'current_role',
  'current_schema',
  'current_time',
  'current_timestamp',
  'current_user',
  'localtime',
  'localtimestamp',
  'session_user',
  'user',
]);

/** One SELECT, over the declared sources alone, of functions that give the same for the same. */
export async function checkSpineQuery(duckdb: DuckDb, spine: SpineSpec): Promise<void> {
  const { text, sources } = spine.sql!;
  const [row] = await duckdb.rows(`SELECT CAST(json_serialize_sql(${textSql(text)}) AS VARCHAR) AS tree`);
  const tree = JSON.parse(row!['tree'] as string) as { error: boolean; error_message?: string; statements?: unknown[] };
  if (tree.error || tree.statements?.length !== 1) {
    throw invalid(spine, `must be one SELECT${tree.error ? ` (${tree.error_message})` : ''}`);
  }
  const found = { tables: new Set<string>(), defined: new Set<string>(), functions: new Set<string>() };
  walk(spine, tree.statements[0], found);
  const unknown = [...found.tables].find((name) => !sources.includes(name) && !found.defined.has(name));
  if (unknown !== undefined) {
    throw invalid(spine, `reads "${unknown}", which is not one of its sources: ${sources.join(', ')}`);
  }
  const names = [...found.functions];
  const unstable = await duckdb.rows(`
    SELECT function_name AS name FROM duckdb_functions()
    WHERE function_name IN (${["''", ...names.map(textSql)].join(', ')}) AND stability <> 'CONSISTENT' ORDER BY ALL`);
  if (unstable.length > 0) {
    throw invalid(spine, `calls ${String(unstable[0]!['name'])}(), which does not give the same every time`);
  }
}

/** Collects what a syntax tree refers to. */
function walk(
  spine: SpineSpec,
  node: unknown,
  found: { readonly tables: Set<string>; readonly defined: Set<string>; readonly functions: Set<string> },
): void {
  if (Array.isArray(node)) {
    for (const each of node) walk(spine, each, found);
    return;
  }
  if (typeof node !== 'object' || node === null) return;
  const fields = node as Readonly<Record<string, unknown>>;
  const text = (name: string): string => textOf(fields, name);
  if (typeof fields['sample'] === 'object' && fields['sample'] !== null) throw invalid(spine, 'draws a sample');
  switch (fields['type']) {
    case 'COLUMN_REF': {
      const [name, ...rest] = (fields['column_names'] ?? []) as readonly string[];
      if (name !== undefined && rest.length === 0 && CLOCKS.has(name.toLowerCase()))
        throw invalid(spine, `calls ${name}, which does not give the same every time`);
      break;
    }
    case 'BASE_TABLE':
      if (text('schema_name') !== '' || text('catalog_name') !== '')
        throw invalid(spine, `reads "${text('schema_name')}.${text('table_name')}": it may read its sources alone`);
      found.tables.add(text('table_name'));
      break;
    case 'TABLE_FUNCTION': {
      const name = textOf(fields['function'], 'function_name');
      if (!TABLE_FUNCTIONS.has(name))
        throw invalid(spine, `calls ${name}(), which reads something else than its sources`);
      break;
    }
    case 'FUNCTION':
    case 'FUNCTION_EXPRESSION':
    case 'WINDOW_AGGREGATE':
      found.functions.add(text('function_name').toLowerCase());
      break;
    default:
  }
  const ctes = (fields['cte_map'] as { map?: readonly { key?: unknown }[] } | undefined)?.map;
  if (Array.isArray(ctes)) for (const { key } of ctes) if (typeof key === 'string') found.defined.add(key);
  for (const each of Object.values(fields)) walk(spine, each, found);
}

function textOf(node: unknown, name: string): string {
  const value = (node as Readonly<Record<string, unknown>> | null)?.[name];
  return typeof value === 'string' ? value : '';
}

async function checkColumns(
  sandbox: DuckDb,
  spine: SpineSpec,
  request: readonly { readonly name: string; readonly type: ColumnType }[],
): Promise<void> {
  const described = await refused(spine, () => sandbox.rows(`DESCRIBE (${spine.sql!.text})`));
  const types = new Map(described.map((column) => [column['column_name'] as string, column['column_type'] as string]));
  for (const { name, type } of [{ name: 'as_of', type: 'ts' as const }, ...request]) {
    const found = types.get(name);
    if (found === undefined)
      throw invalid(spine, `gives no column "${name}"; it gives ${[...types.keys()].join(', ')}`);
    if (!FITTING[type].includes(found)) {
      const meant =
        type === 'ts'
          ? 'a ts, whole microseconds as BIGINT'
          : `${/^[aeiou]/.test(type) ? 'an' : 'a'} ${type} (${FITTING[type].join(', ')})`;
      throw invalid(spine, `gives "${name}" as ${found}, but it must be ${meant}: cast it`);
    }
  }
}

/** What DuckDB says against the query is said of the spine. */
async function refused<T>(spine: SpineSpec, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw invalid(spine, `does not run: ${messageOf(error)}`);
  }
}

function invalid(spine: SpineSpec, fault: string): SerinError {
  return new SerinError('SPEC_INVALID', `the query of the spine "${spine.name}" ${fault}`, {
    fields: { spine: spine.name, fault },
  });
}
