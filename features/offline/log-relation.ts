/** The log of a source as one relation, whatever the source looked like when its files were written. */
import { LOG_COLUMNS } from '../../domain/features/log-file.ts';
import { quoteIdentifier } from '../../domain/project/expression.ts';
import type { SourceSpec } from '../../domain/project/spec.ts';
import { fileListSql } from './duckdb.ts';
import { SQL_TYPES } from './ingest-sql.ts';

const LOG_TYPES = {
  event_at: 'BIGINT',
  available_at: 'BIGINT',
  ingest_seq: 'BIGINT',
  event_id: 'UUID',
  op: 'UTINYINT',
};

/**
 * SQL (in parentheses, to stand in a FROM) of all rows of the files: `LOG_COLUMNS`, then the source's columns in their order
 * and of their present types. A file without `op` has only events (0); a column that the source gained later is null; an
 * `i64` that became an `f64` is widened. No file gives a relation without rows. Columns and filters are pushed down into the
 * files (measured on 1M rows: a fifth more CPU than `read_parquet` alone).
 */
export function logRelationSql(paths: readonly string[], { columns }: Pick<SourceSpec, 'columns'>): string {
  const types = [
    ...LOG_COLUMNS.map((name) => [name, LOG_TYPES[name]] as const),
    ...columns.map(({ name, type }) => [name, SQL_TYPES[type]] as const),
  ];
  const none = `SELECT ${types.map(([name, type]) => `CAST(NULL AS ${type}) AS ${quoteIdentifier(name)}`).join(', ')} WHERE FALSE`;
  if (paths.length === 0) return `(${none})`;
  const stored = `SELECT * FROM read_parquet(${fileListSql(paths)}, union_by_name = true)`;
  const shaped = types.map(([name, type]) =>
    name === 'op'
      ? 'COALESCE(op, 0::UTINYINT) AS op'
      : `CAST(${quoteIdentifier(name)} AS ${type}) AS ${quoteIdentifier(name)}`,
  );
  return `(SELECT ${shaped.join(', ')} FROM (${none} UNION ALL BY NAME ${stored}))`;
}
