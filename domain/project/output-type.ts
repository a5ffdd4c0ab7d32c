/** The type of what a view computes: said once, for checks, the catalogue, schemas and the kernels. */
import type { ColumnType } from './expression.ts';
import { typeOf } from './expression.ts';
import type { AggregateFunction, AggregateSpec } from './spec.ts';

/** A list of pairs [group, value]; of `top_k` [value, how often]. */
export interface ListType {
  readonly list: 'pairs';
  readonly by: ColumnType;
  readonly of: ColumnType;
}

export type OutputType = ColumnType | ListType;

/** What a function takes; null: it counts rows and takes nothing. `count` may take either. */
export function operandTypes(fn: AggregateFunction): readonly ColumnType[] | null {
  switch (fn) {
    case 'rate':
      return null;
    case 'share':
      return ['bool'];
    case 'sum':
    case 'mean':
      return ['i64', 'f64', 'bool'];
    case 'variance_pop':
    case 'variance_samp':
    case 'stddev_pop':
    case 'stddev_samp':
    case 'quantile':
      return ['i64', 'f64'];
    case 'count':
    case 'min':
    case 'max':
    case 'first':
    case 'last':
    case 'latest':
    case 'count_distinct':
    case 'approx_count_distinct':
    case 'top_k':
      return ['i64', 'f64', 'bool', 'str', 'ts'];
  }
}

/** The type of one value of a function over operands of a type; of `top_k` that of its values. */
export function valueType(fn: AggregateFunction, of: ColumnType | null): ColumnType {
  switch (fn) {
    case 'count':
    case 'count_distinct':
    case 'approx_count_distinct':
      return 'i64';
    case 'sum':
      return of === 'f64' ? 'f64' : 'i64';
    case 'min':
    case 'max':
    case 'first':
    case 'last':
    case 'latest':
    case 'top_k':
      return of ?? 'f64';
    case 'mean':
    case 'share':
    case 'rate':
    case 'variance_pop':
    case 'variance_samp':
    case 'stddev_pop':
    case 'stddev_samp':
    case 'quantile':
      return 'f64';
  }
}

/** @throws TypeError or ReferenceError for an expression that does not fit the columns */
export function outputType(
  { fn, of, by }: Pick<AggregateSpec, 'fn' | 'of' | 'by'>,
  columns: ReadonlyMap<string, ColumnType>,
): OutputType {
  const type = valueType(fn, of === null ? null : typeOf(of, columns));
  if (fn === 'top_k') return { list: 'pairs', by: type, of: 'i64' };
  return by === undefined ? type : { list: 'pairs', by: typeOf(by, columns), of: type };
}

/** Whether the output is a value for every key at every instant, also one that was never seen. */
export function isNeverNull({ fn, by, default: otherwise }: Pick<AggregateSpec, 'fn' | 'by' | 'default'>): boolean {
  if (by !== undefined || otherwise !== null) return true;
  return fn === 'count' || fn === 'rate' || fn === 'count_distinct' || fn === 'approx_count_distinct' || fn === 'top_k';
}

/** Names of its values in a view: `<feature>__<window>`, and `<feature>` where there is no window. */
export function outputNames({ name, windows }: Pick<AggregateSpec, 'name' | 'windows'>): string[] {
  return windows.length === 0 ? [name] : windows.map((window) => `${name}__${window.name}`);
}
