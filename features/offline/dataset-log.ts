/** The logs and intermediate tables of a build as relations, by names that nothing of a project can have. */
import { quoteIdentifier as quote } from '../../domain/project/expression.ts';
import type { SourceSpec } from '../../domain/project/spec.ts';
import type { DatasetJob, KnowledgeCut } from './dataset-job.ts';
import { type DuckDb, textSql } from './duckdb.ts';
import { logRelationSql } from './log-relation.ts';

/** When an event can first be seen; over the columns of a log. */
export const VISIBLE_AT_SQL = 'GREATEST(event_at, available_at)';

export function logName(source: string): string {
  return quote(`log ${source}`);
}

/** A request field's column in the spine table. */
export function requestColumn(field: string): string {
  return quote(`request ${field}`);
}

/** The rows that `writeSpine` has written. */
export function spineSql({ spinePath }: { readonly spinePath: string }): string {
  return `read_parquet(${textSql(spinePath)})`;
}

/** A view over the log of a source as it was known at the cut: every version and operation, in no order. */
export async function openLog(
  duckdb: DuckDb,
  source: SourceSpec,
  { logs, knowledgeCut }: Pick<DatasetJob, 'logs' | 'knowledgeCut'>,
): Promise<void> {
  await duckdb.run(
    `CREATE OR REPLACE VIEW ${logName(source.name)} AS SELECT * FROM ${logRelationSql(logs[source.name]!.paths, source)} WHERE ingest_seq <= ${knowledgeCut.seq[source.name]}`,
  );
}

/**
 * SQL (in parentheses) of a source's events as they stand at the cut, one row each: the log's columns, and row_id and
 * first_visible_at, which stay when an event is corrected. Corrections known by then have their last say, retracted events
 * are gone; what becomes known only after the cut counts for events that are not known before. Tombstones speak of the keys
 * of views and leave events as they are.
 */
export function standingEventsSql(source: SourceSpec, cut: KnowledgeCut): string {
  const log = logName(source.name);
  if (!hasVersions(source))
    return `(SELECT *, ingest_seq AS row_id, ${VISIBLE_AT_SQL} AS first_visible_at FROM ${log} WHERE op = 0)`;
  const known = `available_at <= ${cut.at}`;
  const newestKnownFirst = [
    `${known} DESC`,
    `CASE WHEN ${known} THEN -available_at ELSE available_at END`,
    `CASE WHEN ${known} THEN -ingest_seq ELSE ingest_seq END`,
  ];
  return `(
    SELECT * EXCLUDE (version) FROM (
      SELECT *, MIN(ingest_seq) OVER (PARTITION BY event_id) AS row_id,
        MIN(${VISIBLE_AT_SQL}) OVER (PARTITION BY event_id) AS first_visible_at,
        ROW_NUMBER() OVER (PARTITION BY event_id ORDER BY ${newestKnownFirst.join(', ')}) AS version
      FROM ${log} WHERE op <> 2
    ) WHERE version = 1 AND op = 0)`;
}

export function hasVersions(source: SourceSpec): boolean {
  return source.revisions === 'versions' || (source.operation?.retract ?? null) !== null;
}

/** Events that rows are made of, with row_id. A name that no source can have. */
export const SPINE_EVENTS = '"spine events"';
