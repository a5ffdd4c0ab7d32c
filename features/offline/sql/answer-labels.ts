/** Labels of events after `asOf`, in DuckDB alone (rule 13 of `conformance/pit/README.md`). */
import { toSql } from '../../../domain/project/expression.ts';
import { type ColumnType, typeOf } from '../../../domain/project/expression.ts';
import { MICROS_PER_SECOND } from '../../../domain/time.ts';
import type { EntitySpec, LabelSpec, LabelWindowSpec, SourceSpec } from '../../../domain/project/spec.ts';
import { type Instant, toInstant } from '../../../domain/instant.ts';
import type { HistoryOutput, OutputValue } from '../../history/plan.ts';
import { SQL_TYPES } from '../ingest-sql.ts';
import type { DuckDb } from '../duckdb.ts';
import { partsSql } from './aggregate-sql.ts';
import type { SpineRelation } from './answer-spine.ts';
import { factTableSql, keyColumn, type LogRelation, PUT, sameKeySql, standsSql, TOMBSTONE } from './fact-table.ts';
import { finishOutput } from './finish-output.ts';

export type LabelStatus = 'IMMATURE' | 'CENSORED' | 'POSITIVE' | 'NEGATIVE' | 'VALUE';

/** An events' source, its rows, and the types of the key columns that the label names. */
export interface LabelEvents {
  readonly source: SourceSpec;
  readonly log: LogRelation;
  readonly keyParts: EntitySpec['keys'];
}

export interface LabelQuestion {
  readonly label: LabelSpec & { readonly window: LabelWindowSpec };
  readonly events: LabelEvents;
  /** Null when nothing censors. */
  readonly censor: LabelEvents | null;
  /** SQL over the spine of each key part of `label.window.on`, and of the censor's. */
  readonly key: readonly string[];
  readonly censorKey: readonly string[];
  /** The knowledge cut. */
  readonly builtAt: Instant;
}

export interface LabelAnswer {
  /** true, false or null for `any`; one per spine row */
  readonly values: OutputValue[];
  readonly statuses: LabelStatus[];
}

export async function answerLabel(
  duckdb: DuckDb,
  spine: SpineRelation,
  { label, events, censor, key, censorKey, builtAt }: LabelQuestion,
): Promise<LabelAnswer> {
  const { window } = label;
  const { output, slots } = labelOutput(label, events.source);
  try {
    await makeLive(duckdb, 'pit_event', events, window.key, slots, builtAt);
    const ends = `as_of + ${window.gapMicros} + ${window.horizonMicros}`;
    await duckdb.run(`
      CREATE OR REPLACE TEMP TABLE pit_observed AS
      SELECT *, ${ends} AS end_at, CAST(NULL AS BIGINT) AS censored_at FROM (
        SELECT CAST(${spine.row} AS BIGINT) AS idx, ${spine.asOf} AS as_of
          ${keySql(key, events, keyColumn)} ${censor === null ? '' : keySql(censorKey, censor, censorColumn)}
        FROM ${spine.sql}) WHERE as_of IS NOT NULL`);
    if (censor !== null) await applyCensor(duckdb, censor, window.censor!, builtAt);
    const [from, to] =
      window.boundary === 'exclusive'
        ? [`f.event_at >= q.as_of + ${window.gapMicros}`, 'f.event_at < q.end_at']
        : [`f.event_at > q.as_of + ${window.gapMicros}`, 'f.event_at <= q.end_at'];
    const keys = events.keyParts.map((_, i) => keyColumn(i));
    const parts = partsSql({ slots }, output);
    // the window is a condition of the join; of what comes out, a rate alone asks for its length
    const finished = { ...output, over: { length: toInstant(window.horizonMicros), hop: null, offset: 0 } };
    const answer: LabelAnswer = { values: Array<OutputValue>(spine.rows).fill(null), statuses: [] };
    const rows = `
      SELECT q.idx, ANY_VALUE(q.censored_at) IS NOT NULL,
        ${BigInt(builtAt)} >= ANY_VALUE(COALESCE(q.censored_at, q.end_at)) + ${window.delayMicros}, ${parts.join(', ')}
      FROM pit_observed q LEFT JOIN pit_event f ON ${sameKeySql(keys)} AND ${from} AND ${to}
        AND (q.censored_at IS NULL OR f.event_at <= q.censored_at)
      GROUP BY q.idx`;
    for await (const { rows: count, columns } of duckdb.chunks(rows)) {
      for (let i = 0; i < count; i++) {
        const row = Number(columns[0]![i]);
        const result = finishOutput(
          { slots },
          finished,
          columns.slice(3).map((column) => column[i]!),
        );
        [answer.values[row], answer.statuses[row]] = judge(
          window,
          columns[1]![i] === true,
          columns[2]![i] === true,
          result,
        );
      }
    }
    return answer;
  } finally {
    for (const table of ['pit_event', 'pit_observed', 'pit_censor']) await duckdb.run(`DROP TABLE IF EXISTS ${table}`);
  }
}

function judge(
  { fn, earlyPositive }: LabelWindowSpec,
  censored: boolean,
  mature: boolean,
  result: OutputValue,
): [OutputValue, LabelStatus] {
  if (fn === 'any') {
    const hit = result !== 0;
    if (!mature && !(hit && earlyPositive)) return [null, 'IMMATURE'];
    if (hit) return [true, 'POSITIVE'];
    return censored ? [null, 'CENSORED'] : [false, 'NEGATIVE'];
  }
  if (!mature) return [null, 'IMMATURE'];
  return censored ? [null, 'CENSORED'] : [result, 'VALUE'];
}

function labelOutput(
  { name, of, window: { fn, where } }: LabelSpec & { readonly window: LabelWindowSpec },
  source: SourceSpec,
): { output: HistoryOutput; slots: { type: ColumnType; sql: string }[] } {
  const types = new Map(source.columns.map((column) => [column.name, column.type]));
  // `any` and `rate` count rows, whatever their values
  const valued = fn !== 'any' && fn !== 'rate';
  const slots = [
    { type: where === null ? ('bool' as const) : typeOf(where, types), sql: where === null ? 'TRUE' : toSql(where) },
    ...(valued ? [{ type: typeOf(of, types), sql: toSql(of) }] : []),
  ];
  const output: HistoryOutput = {
    feature: name,
    window: null,
    name,
    type: valued ? slots[1]!.type : 'i64',
    fn: fn === 'any' ? 'count' : fn,
    slot: valued ? 1 : -1,
    where: 0,
    by: -1,
    over: null,
    nulls: 'keep',
    unit: MICROS_PER_SECOND,
    k: 0,
    q: 0,
    exactUpTo: 0,
    default: null,
  };
  return { output, slots };
}

function censorColumn(part: number): string {
  return `c${part}`;
}

function keySql(key: readonly string[], { keyParts }: LabelEvents, column: (part: number) => string): string {
  return key.map((sql, i) => `, CAST(${sql} AS ${SQL_TYPES[keyParts[i]!.type]}) AS ${column(i)}`).join('');
}

/** Table `name`: the live rows of a source as known at the cut. */
async function makeLive(
  duckdb: DuckDb,
  name: string,
  { log, keyParts }: LabelEvents,
  keyColumns: readonly string[],
  slots: readonly { readonly type: ColumnType; readonly sql: string }[],
  builtAt: Instant,
): Promise<void> {
  const keys = keyParts.map((_, i) => keyColumn(i));
  const cut = `(SELECT CAST(${BigInt(builtAt)} AS BIGINT) AS cut) q`;
  await duckdb.run(`CREATE OR REPLACE TEMP TABLE ${name} AS
    WITH fact AS MATERIALIZED (${factTableSql({ keyColumns, keyParts, slots }, log, 'none')}),
    grave AS (
      SELECT ${[...keys, 'MAX(pos) AS pos'].join(', ')} FROM fact
      WHERE op = ${TOMBSTONE} AND event_at <= ${BigInt(builtAt)} AND av <= ${BigInt(builtAt)}
      ${keys.length === 0 ? '' : `GROUP BY ${keys.join(', ')}`}
    )
    SELECT f.* FROM fact f JOIN ${cut} ON ${standsSql(log, 'none')}
    LEFT JOIN grave ON ${keys.length === 0 ? 'TRUE' : keys.map((part) => `f.${part} = grave.${part}`).join(' AND ')}
    WHERE f.op = ${PUT} AND (grave.pos IS NULL OR f.pos > grave.pos)`);
}

/** Sets `censored_at` of the observed rows: the first censoring event after `as_of` and before the window's end. */
async function applyCensor(
  duckdb: DuckDb,
  censor: LabelEvents,
  { key, where }: NonNullable<LabelWindowSpec['censor']>,
  builtAt: Instant,
): Promise<void> {
  const slots = where === null ? [] : [{ type: 'bool' as const, sql: toSql(where) }];
  await makeLive(duckdb, 'pit_censor', censor, key, slots, builtAt);
  const same = censor.keyParts.map((_, i) => `q.${censorColumn(i)} = f.${keyColumn(i)}`);
  await duckdb.run(`
    UPDATE pit_observed SET censored_at = first.at FROM (
      SELECT q.idx, MIN(f.event_at) AS at FROM pit_observed q JOIN pit_censor f
      ON ${[...same, 'f.event_at > q.as_of', 'f.event_at < q.end_at', ...(where === null ? [] : ['f.s0'])].join(' AND ')}
      GROUP BY q.idx
    ) first WHERE pit_observed.idx = first.idx`);
}
