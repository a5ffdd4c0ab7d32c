/** The join of two views' latest values onto the rows that ask, as Serin plans it and as one writes it by hand. */
import type { DuckDb } from '../../features/offline/duckdb.ts';
import { textSql } from '../../features/offline/duckdb.ts';
import { logRelationSql } from '../../features/offline/log-relation.ts';
import { logRelation } from '../../features/offline/sql/fact-table.ts';
import { prepareLatest } from '../../features/offline/sql/latest-merge.ts';
import type { ViewQuestion } from '../../features/offline/sql/answer-spine.ts';
import { compileHistoryView } from '../../features/history/compile.ts';
import { type LatestData, latestDefinitions } from './latest-data.ts';

/** Columns `<table>__<value>` beside row_id. */
export async function joinBySerin(duckdb: DuckDb, { spine, tables }: LatestData, output: string): Promise<void> {
  const questions = tables.map((table): ViewQuestion => {
    const { view, source, entity } = latestDefinitions(table);
    const log = logRelation(source, logRelationSql([table.path], source));
    return { plan: compileHistoryView(view, source, entity), log, key: table.key };
  });
  const relation = { sql: `read_parquet(${textSql(spine)})`, row: 'row_id', asOf: 'as_of', knownSeq: null };
  const joined = await prepareLatest(duckdb, 'joined', relation, questions, ['origin', 'dest', 'as_of']);
  const columns = tables.flatMap(({ name, values }, u) => values.map((value, i) => `v${u}_${i} AS ${name}__${value}`));
  await duckdb.run(`
    COPY (SELECT idx AS row_id, origin, dest, as_of, ${columns.join(', ')} FROM (${joined.sql})) TO ${textSql(output)} (FORMAT parquet)`);
}

/** What one writes first: two ASOF joins by event time. It knows neither when a row was known nor which version stood. */
export async function joinPlainly(duckdb: DuckDb, { spine, tables }: LatestData, output: string): Promise<void> {
  const columns = tables.flatMap(({ name, values, ttlMicros }) =>
    values.map(
      (value) => `CASE WHEN s.as_of - ${name}.event_at <= ${ttlMicros} THEN ${name}.${value} END AS ${name}__${value}`,
    ),
  );
  const joins = tables.map(
    ({ name, path, key }) =>
      `ASOF LEFT JOIN read_parquet(${textSql(path)}) ${name} ON ${key.map((part) => `s.${part} = ${name}.${part}`).join(' AND ')} AND s.as_of >= ${name}.event_at`,
  );
  await duckdb.run(`
    COPY (SELECT s.row_id, s.origin, s.dest, s.as_of, ${columns.join(', ')} FROM read_parquet(${textSql(spine)}) s ${joins.join(' ')})
    TO ${textSql(output)} (FORMAT parquet)`);
}
