/**
 * The facts of a source as one view sees them, as a DuckDB relation: the rules of `conformance/pit/README.md` in SQL. This
 * folder is a second, independent reading of those rules: nothing here calls the kernels to choose among rows.
 *
 * Columns of facts: `k0…` (key parts), `op`, `event_at`, `av` (available_at), `seq`, `s0…` (slots), and for versions
 * `known_to`: the instant from which a later version stands (null: never), or with `perRow` knowledge `killers`.
 */
import type { ColumnType } from '../../../domain/project/expression.ts';
import { quoteIdentifier } from '../../../domain/project/expression.ts';
import type { KeyPart, SourceSpec } from '../../../domain/project/spec.ts';
import { SQL_TYPES } from '../ingest-sql.ts';

/** The stored rows of a source: a relation with `event_at`, `available_at`, `ingest_seq` (BIGINT) and the source's columns. */
export interface LogRelation {
  /** A table's name, or a SELECT in parentheses. */
  readonly sql: string;
  /** SQL over it: rows that share the value are versions of one row. Null: every row is by itself. */
  readonly identity: string | null;
  /** SQL over it of what the row does, as a number (`OPERATIONS`). Null: every row is an event. */
  readonly op: string | null;
}

/** What a view or a label takes from a log. */
export interface FactShape {
  readonly keyColumns: readonly string[];
  readonly keyParts: readonly KeyPart[];
  readonly slots: readonly { readonly type: ColumnType; readonly sql: string }[];
}

/** `none`: rows are chosen by the cut alone; `perRow`: each question also has the highest `ingest_seq` that was known. */
export type Knowledge = 'none' | 'perRow';

export const [PUT, RETRACT, TOMBSTONE] = [0, 1, 2].map(String) as [string, string, string];

/** The log of a source as Serin stores it (`log-relation.ts`), with `op` and `event_id`. */
export function logRelation(source: SourceSpec, sql: string): LogRelation {
  const versions = source.revisions === 'versions' || (source.operation?.retract ?? null) !== null;
  return { sql, identity: versions ? 'event_id' : null, op: source.operation === undefined ? null : 'op' };
}

export function keyColumn(part: number): string {
  return `k${part}`;
}

export function slotColumn(slot: number): string {
  return `s${slot}`;
}

/** A SELECT of facts: every row that is ever known, retractions, superseded versions and rows without a key included. */
export function factsSql(shape: FactShape, log: LogRelation, knowledge: Knowledge, slots?: readonly number[]): string {
  const op = log.op ?? PUT;
  const keys = shape.keyParts.map(
    (part, i) => `CAST(${quoteIdentifier(shape.keyColumns[i]!)} AS ${SQL_TYPES[part.type]}) AS ${keyColumn(i)}`,
  );
  const values = (slots ?? shape.slots.map((_, i) => i)).map((i) => {
    const { type, sql } = shape.slots[i]!;
    const value = log.op === null ? sql : `CASE WHEN ${op} = ${PUT} THEN ${sql} END`;
    return `${type === 'f64' ? withoutNegativeZero(value) : value} AS ${slotColumn(i)}`;
  });
  const identity = log.identity === null ? [] : [`${log.identity} AS identity`];
  // without an `available_at` a row is never known, so it is no version either
  const facts = `
    SELECT ${[...keys, `${op} AS op`, 'event_at', 'available_at AS av', 'ingest_seq AS seq', ...identity, ...values].join(', ')}
    FROM ${log.sql} WHERE available_at IS NOT NULL`;
  return log.identity === null ? facts : versionsSql(facts, knowledge);
}

/** The facts that can be candidates, and tombstones, as a table with `pos`: positions as integers, 1 being the first. */
export function factTableSql(shape: FactShape, log: LogRelation, knowledge: Knowledge): string {
  return `
    SELECT *, ROW_NUMBER() OVER (ORDER BY event_at, av, seq) AS pos FROM (${factsSql(shape, log, knowledge)})
    WHERE op <> ${RETRACT}${shape.keyParts.map((_, i) => ` AND ${keyColumn(i)} IS NOT NULL`).join('')}`;
}

/** Versions are told apart among all rows, those without a key or the wanted values too: these supersede all the same. */
function versionsSql(facts: string, knowledge: Knowledge): string {
  if (knowledge === 'none') {
    return `
      SELECT * EXCLUDE (identity), CASE WHEN op <> ${TOMBSTONE} THEN
        LEAD(av) OVER (PARTITION BY identity, op = ${TOMBSTONE} ORDER BY av, seq) END AS known_to
      FROM (${facts})`;
  }
  // what a question knows is limited in two ways, so that any later version may be the one that it knows
  return `
    WITH fact AS MATERIALIZED (${facts}),
    version AS MATERIALIZED (
      SELECT identity, av, seq FROM fact WHERE op <> ${TOMBSTONE} QUALIFY COUNT(*) OVER (PARTITION BY identity) > 1
    ),
    killer AS (
      SELECT early.seq, LIST({av: late.av, seq: late.seq}) AS killers FROM version early JOIN version late
      ON early.identity = late.identity AND (late.av > early.av OR (late.av = early.av AND late.seq > early.seq))
      GROUP BY early.seq
    )
    SELECT fact.* EXCLUDE (identity), killers FROM fact LEFT JOIN killer ON fact.seq = killer.seq AND op <> ${TOMBSTONE}`;
}

/** The condition under which a put of `f` is the standing version and known to a question of `q`. */
export function standsSql(log: LogRelation, knowledge: Knowledge): string {
  const known = ['f.event_at <= q.cut', 'f.av <= q.cut', ...(knowledge === 'perRow' ? ['f.seq <= q.known'] : [])];
  if (log.identity !== null) {
    known.push(
      knowledge === 'none'
        ? '(f.known_to IS NULL OR f.known_to > q.cut)'
        : '(f.killers IS NULL OR LEN(LIST_FILTER(f.killers, lambda k: k.av <= q.cut AND k.seq <= q.known)) = 0)',
    );
  }
  return known.join(' AND ');
}

/** SQL of the equality of a question's key (of `q`) and a fact's; a view without keys is one of everything. */
export function sameKeySql(keys: readonly string[], fact = 'f'): string {
  return keys.length === 0 ? 'TRUE' : keys.map((part) => `q.${part} = ${fact}.${part}`).join(' AND ');
}

/** Not `x + 0`, which DuckDB takes for `x`. */
function withoutNegativeZero(value: string): string {
  return `CASE WHEN ${value} = 0 THEN CAST(0 AS DOUBLE) ELSE CAST(${value} AS DOUBLE) END`;
}

/** The greatest multiple of `step` that is at most `value` (both BIGINT, any sign). */
export function floorToSql(value: string, step: bigint): string {
  return `(${value} - ((${value} % ${step}) + ${step}) % ${step})`;
}
