/**
 * One output as DuckDB aggregates over the pairs of `(question q, fact f)`, and how its value is finished from them. What
 * SQL cannot round correctly or has no exact form of (`f64` sums, variances, sketches) comes out as the list of values.
 */
import type { ColumnType } from '../../../domain/project/expression.ts';
import type { HistoryOutput, HistoryWindow } from '../../history/plan.ts';
import { floorToSql, slotColumn } from './fact-table.ts';

/** Longer than all of 0001…9999, and far from the ends of a BIGINT: durations beyond it mean the same. */
const ALL_OF_TIME = 10n ** 18n;

export function durationSql(duration: number | bigint): bigint {
  const exact = BigInt(duration);
  return exact > ALL_OF_TIME ? ALL_OF_TIME : exact;
}

/** How far before the cut a window can reach; null: without end. */
export function reachOf({ length, hop, offset }: HistoryWindow): bigint | null {
  return length === null ? null : durationSql(BigInt(length) + BigInt(offset) + BigInt(hop ?? 0));
}

/** The condition that a fact lies in the window of a question. */
export function windowSql({ length, hop, offset }: HistoryWindow): string {
  const end = BigInt(offset) === 0n ? 'q.cut' : `(q.cut - ${durationSql(offset)})`;
  if (length === null) return `f.event_at <= ${end}`;
  const start = `(${end} - ${durationSql(length)})`;
  return `(f.event_at > ${hop === null ? start : floorToSql(start, BigInt(hop))} AND f.event_at <= ${end})`;
}

/** The condition that a fact takes part in an output, nulls of its value aside. */
export function takesPartSql({ over, where }: Pick<HistoryOutput, 'over' | 'where'>): string {
  const conditions = [
    ...(over === null ? [] : [windowSql(over)]),
    ...(where < 0 ? [] : [`COALESCE(f.${slotColumn(where)}, FALSE)`]),
  ];
  return conditions.length === 0 ? 'TRUE' : conditions.join(' AND ');
}

/** Of a plan, or of a label. */
export interface SlotTypes {
  readonly slots: readonly { readonly type: ColumnType }[];
}

/** What `finishOutput` (`finish-output.ts`) makes the value of. */
export type PartKind = 'count' | 'value' | 'sum' | 'sumAndCount' | 'holdsAndCount' | 'values';

/** What an output needs from SQL, over a slot of that type (null: none). `values` are never null and in no particular order. */
export function partKind({ fn }: HistoryOutput, type: ColumnType | null): PartKind {
  switch (fn) {
    case 'count':
    case 'rate':
    case 'count_distinct':
      return 'count';
    case 'min':
    case 'max':
    case 'first':
    case 'last':
    case 'latest':
      return 'value';
    case 'share':
      return 'holdsAndCount';
    case 'sum':
      return type === 'f64' ? 'values' : 'sum';
    case 'mean':
      return type === 'f64' ? 'values' : 'sumAndCount';
    case 'variance_pop':
    case 'variance_samp':
    case 'stddev_pop':
    case 'stddev_samp':
    case 'approx_count_distinct':
    case 'top_k':
    case 'quantile':
      return 'values';
  }
}

/** The aggregates of an output, to be finished in this order. */
export function partsSql(plan: SlotTypes, output: HistoryOutput): string[] {
  const { fn, slot, nulls } = output;
  const takesPart = takesPartSql(output);
  const value = slot < 0 ? '' : `f.${slotColumn(slot)}`;
  const notNull = slot < 0 ? takesPart : `${takesPart} AND ${value} IS NOT NULL`;
  const whole = slot >= 0 && plan.slots[slot]!.type === 'bool' ? `CAST(${value} AS BIGINT)` : value;
  const count = `COUNT(*) FILTER (${notNull})`;
  switch (fn) {
    case 'count':
    case 'rate':
      return [count];
    case 'count_distinct':
      return [`COUNT(DISTINCT ${value}) FILTER (${notNull})`];
    case 'min':
    case 'max':
      return [`${fn.toUpperCase()}(${value}) FILTER (${notNull})`];
    case 'first':
    case 'last': {
      const pick = fn === 'first' ? 'ARG_MIN_NULL' : 'ARG_MAX_NULL';
      return [`${pick}(${value}, f.pos) FILTER (${nulls === 'skip' ? notNull : takesPart})`];
    }
    case 'share':
      return [`COUNT(*) FILTER (${takesPart} AND ${value})`, count];
    case 'sum':
    case 'mean':
      if (plan.slots[slot]!.type === 'f64') return [`LIST(${value}) FILTER (${notNull})`];
      // a BIGINT sum is a HUGEINT, which no number of rows that fits on a disk fills
      return [`SUM(${whole}) FILTER (${notNull})`, ...(fn === 'mean' ? [count] : [])];
    case 'variance_pop':
    case 'variance_samp':
    case 'stddev_pop':
    case 'stddev_samp':
    case 'approx_count_distinct':
    case 'top_k':
    case 'quantile':
      return [`LIST(${value}) FILTER (${notNull})`];
    case 'latest':
      throw new RangeError(`"${output.name}" is no aggregate`);
  }
}
