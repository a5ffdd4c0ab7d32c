/** What makes rows one event, and what makes them the same row, in DuckDB SQL: the twin of the identities of `domain/features/row-contract.ts`. */
import { OPERATIONS } from '../../domain/features/log-file.ts';
import { quoteIdentifier } from '../../domain/project/expression.ts';
import type { ColumnSpec, SourceSpec } from '../../domain/project/spec.ts';
import { textSql } from './duckdb.ts';

/** Positions in `OPERATIONS`: the values of `op`. */
export const PUT = OPERATIONS.indexOf('put');
export const RETRACT = OPERATIONS.indexOf('retract');
export const TOMBSTONE = OPERATIONS.indexOf('tombstone');

/** The event id: the first 128 bits of the SHA-256 of the identity text (`createEventIdentity`). */
export function eventIdSql(source: SourceSpec): string {
  return idSql(eventIdentityParts(source));
}

/** The version id (`createVersionIdentity`), over `op` and the source's typed columns. */
export function versionIdSql(source: SourceSpec, availableAt: string): string {
  const whole = [
    'op',
    `'a'`,
    availableAt,
    `';'`,
    ...source.columns
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ name, type }) => {
        const value = quoteIdentifier(name);
        const tag = textSql(`${Array.from(name).length}:${name}`);
        return `CASE WHEN ${value} IS NULL THEN '' ELSE concat(${tag}, ${identityText(type, value)}) END`;
      }),
  ];
  if (source.revisions === 'versions') return idSql(whole);
  if (source.operation === undefined) return eventIdSql(source);
  const events = eventIdentityParts(source);
  return `CASE op WHEN ${PUT} THEN ${idSql(events)} WHEN ${RETRACT} THEN ${idSql([`'r'`, ...events])} ELSE ${idSql(whole)} END`;
}

/** The version id of a row of the log, which has its event id already. */
export function storedVersionIdSql(source: SourceSpec): string {
  if (source.revisions === 'versions') return versionIdSql(source, 'available_at');
  if (source.operation === undefined) return 'event_id';
  return `CASE op WHEN ${PUT} THEN event_id ELSE ${versionIdSql(source, 'available_at')} END`;
}

/** The column of a checked batch that has the version ids. */
export function versionColumn({ revisions, operation }: SourceSpec): 'event_id' | '"$version"' {
  return revisions === 'versions' || operation !== undefined ? '"$version"' : 'event_id';
}

function eventIdentityParts(source: SourceSpec): string[] {
  const types = new Map(source.columns.map(({ name, type }) => [name, type]));
  return source.eventId.map((name) => {
    const value = quoteIdentifier(name);
    return `CASE WHEN ${value} IS NULL THEN 'n' ELSE ${identityText(types.get(name)!, value)} END`;
  });
}

function identityText(type: ColumnSpec['type'], value: string): string {
  return {
    i64: `concat('i', ${value}, ';')`,
    ts: `concat('t', ${value}, ';')`,
    bool: `CASE WHEN ${value} THEN 'b1' ELSE 'b0' END`,
    f64: `CASE WHEN ${value} = trunc(${value}) AND abs(${value}) <= ${Number.MAX_SAFE_INTEGER} THEN concat('i', CAST(${value} AS BIGINT), ';') ELSE concat('f', CAST(CAST(${value} AS BIT) AS VARCHAR)) END`,
    str: `concat('s', length(${value}), ':', ${value})`,
  }[type];
}

function idSql(parts: readonly string[]): string {
  return `CAST(left(sha256(concat(${parts.join(', ')})), 32) AS UUID)`;
}
