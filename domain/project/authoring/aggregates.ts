/**
 * What a view computes: aggregates over windows, and the latest value. The types carry what a feature set will know of
 * each: its windows, the type of its value, and whether it can be null.
 */
import type { ColumnType } from '../expression.ts';
import type { AggregateSpec, WindowSpec } from '../spec.ts';
import type { Duration } from './durations.ts';
import { type Condition, type Numeric, type NumberType, type Term, type ValueOf, wholeValue } from './terms.ts';

type WindowDefinition = Omit<WindowSpec, 'name'>;

/**
 * `(t − length, t]` by event time; with a hop the start is moved down to a multiple of it, so that the state kept per key is
 * length / hop tiles instead of every event. An offset moves both ends back: `window(days(7), { offset: days(7) })` is the
 * week before the last.
 */
export function window(
  length: Duration,
  { hop, offset }: { readonly hop?: Duration; readonly offset?: Duration } = {},
): WindowDefinition {
  return {
    lengthMicros: length.micros,
    hopMicros: hop?.micros ?? null,
    ...(offset !== undefined && { offsetMicros: offset.micros }),
  };
}

/** All of the past, or all of it up to `offset` ago. */
export function lifetime({ offset }: { readonly offset?: Duration } = {}): WindowDefinition {
  return { lengthMicros: null, hopMicros: null, ...(offset !== undefined && { offsetMicros: offset.micros }) };
}

/** `list`: pairs of a group and its value, which no model reads. */
export type OutputKind = ColumnType | 'list';

/** A feature over windows. `Kind` and `Value` are types only: what it gives, null included where it can be null. */
export interface Aggregate<W extends string = string, Kind extends OutputKind = OutputKind, Value = unknown> {
  readonly over: 'windows';
  readonly spec: Omit<AggregateSpec, 'name'>;
  readonly windows?: W;
  readonly kind?: Kind;
  readonly value?: Value;
}

/** A feature without a window: the value of the newest row. */
export interface LatestValue<Kind extends OutputKind = OutputKind, Value = unknown> {
  readonly over: 'latest';
  readonly spec: Omit<AggregateSpec, 'name'>;
  readonly kind?: Kind;
  readonly value?: Value;
}

export type ViewFeature = Aggregate | LatestValue;

interface Options<D> {
  /** Rows for which this does not hold do not take part. */
  readonly where?: Condition;
  /** The value where there is none: the window is empty, or has only nulls. */
  readonly default?: D;
  readonly description?: string;
}

interface WindowOptions<W extends string, D, G> extends Options<D> {
  readonly windows: Readonly<Record<W, WindowDefinition>>;
  /** Group by: the value is then a list of [group, value], ascending by group. */
  readonly by?: G;
}

interface NullOptions {
  /** Whether the value of a row may be null: `skip` looks for the nearest one that is not. Left out: keep. */
  readonly nulls?: 'keep' | 'skip';
}

/** A default takes null away. */
type Defaulted<Value, D> = [D] extends [undefined] ? Value : Exclude<Value, null>;

type Over<W extends string, Kind extends ColumnType, Value, D, G> = [G] extends [Term<infer By>]
  ? Aggregate<W, 'list', readonly (readonly [ValueOf<By>, Value])[]>
  : Aggregate<W, Kind, Defaulted<Value, D>>;

/** The type of a default: that of the value, by its kind. */
type DefaultOf<T extends ColumnType> = T extends 'bool'
  ? boolean
  : T extends 'str'
    ? string
    : T extends 'f64'
      ? number
      : number | bigint;

type Extras = Partial<Pick<AggregateSpec, 'unitMicros' | 'k' | 'q' | 'exactUpTo'>>;

function aggregate<Result>(
  fn: AggregateSpec['fn'],
  of: Term | null,
  options: WindowOptions<string, unknown, unknown> & NullOptions,
  extras: Extras = {},
): Result {
  const { windows, by, nulls } = options;
  return {
    over: 'windows',
    spec: {
      fn,
      of: of?.expression ?? null,
      where: options.where?.expression ?? null,
      windows: Object.entries<WindowDefinition>(windows).map(([name, definition]) => ({ name, ...definition })),
      default: defaultSpec(options.default),
      description: options.description ?? '',
      ...(by !== undefined && { by: (by as Term).expression }),
      ...(nulls !== undefined && { nulls }),
      ...extras,
    },
  } satisfies Aggregate as Result;
}

function defaultSpec(value: unknown): AggregateSpec['default'] {
  if (typeof value === 'bigint') return wholeValue(value);
  return (value ?? null) as AggregateSpec['default'];
}

type By = Term | undefined;

/** Number of rows, or of those where `of` is not null; 0 in an empty window. */
export function count<W extends string, D extends number | undefined = undefined, G extends By = undefined>(
  options: WindowOptions<W, D, G>,
): Over<W, 'i64', number, D, G>;
export function count<W extends string, D extends number | undefined = undefined, G extends By = undefined>(
  of: Term,
  options: WindowOptions<W, D, G>,
): Over<W, 'i64', number, D, G>;
export function count<W extends string, D extends number | undefined, G extends By>(
  first: Term | WindowOptions<W, D, G>,
  second?: WindowOptions<W, D, G>,
): Over<W, 'i64', number, D, G> {
  return second === undefined
    ? aggregate('count', null, first as WindowOptions<W, D, G>)
    : aggregate('count', first as Term, second);
}

/** Rows per `per` (a second when left out): rows × per / length; 0 in an empty window. */
export function rate<W extends string, D extends number | undefined = undefined, G extends By = undefined>(
  options: WindowOptions<W, D, G> & { readonly per?: Duration },
): Over<W, 'f64', number, D, G> {
  return aggregate('rate', null, options, options.per === undefined ? {} : { unitMicros: options.per.micros });
}

/** The part of the rows for which a condition holds. */
export function share<W extends string, D extends number | undefined = undefined, G extends By = undefined>(
  of: Condition,
  options: WindowOptions<W, D, G>,
): Over<W, 'f64', number | null, D, G> {
  return aggregate('share', of, options);
}

/** Exact: a whole number of any size, or the exact sum of doubles rounded once. */
export function sum<
  W extends string,
  T extends NumberType,
  D extends number | undefined = undefined,
  G extends By = undefined,
>(of: Numeric<T>, options: WindowOptions<W, D, G>): Over<W, T, ValueOf<T> | null, D, G> {
  return aggregate('sum', of, options);
}

export function mean<W extends string, D extends number | undefined = undefined, G extends By = undefined>(
  of: Numeric,
  options: WindowOptions<W, D, G>,
): Over<W, 'f64', number | null, D, G> {
  return aggregate('mean', of, options);
}

export function min<
  W extends string,
  T extends ColumnType,
  D extends DefaultOf<T> | undefined = undefined,
  G extends By = undefined,
>(of: Term<T>, options: WindowOptions<W, D, G>): Over<W, T, ValueOf<T> | null, D, G> {
  return aggregate('min', of, options);
}

export function max<
  W extends string,
  T extends ColumnType,
  D extends DefaultOf<T> | undefined = undefined,
  G extends By = undefined,
>(of: Term<T>, options: WindowOptions<W, D, G>): Over<W, T, ValueOf<T> | null, D, G> {
  return aggregate('max', of, options);
}

/** Σ(x − mean)² / n; 0 for one value. */
export function variancePop<W extends string, D extends number | undefined = undefined, G extends By = undefined>(
  of: Numeric,
  options: WindowOptions<W, D, G>,
): Over<W, 'f64', number | null, D, G> {
  return aggregate('variance_pop', of, options);
}

/** Σ(x − mean)² / (n − 1); null below two values. */
export function varianceSamp<W extends string, D extends number | undefined = undefined, G extends By = undefined>(
  of: Numeric,
  options: WindowOptions<W, D, G>,
): Over<W, 'f64', number | null, D, G> {
  return aggregate('variance_samp', of, options);
}

/** The root of `variancePop`. */
export function stddevPop<W extends string, D extends number | undefined = undefined, G extends By = undefined>(
  of: Numeric,
  options: WindowOptions<W, D, G>,
): Over<W, 'f64', number | null, D, G> {
  return aggregate('stddev_pop', of, options);
}

/** The root of `varianceSamp`. */
export function stddevSamp<W extends string, D extends number | undefined = undefined, G extends By = undefined>(
  of: Numeric,
  options: WindowOptions<W, D, G>,
): Over<W, 'f64', number | null, D, G> {
  return aggregate('stddev_samp', of, options);
}

/** The value of the oldest row of the window, by (event time, when it was known, ingest order). */
export function first<
  W extends string,
  T extends ColumnType,
  D extends DefaultOf<T> | undefined = undefined,
  G extends By = undefined,
>(of: Term<T>, options: WindowOptions<W, D, G> & NullOptions): Over<W, T, ValueOf<T> | null, D, G> {
  return aggregate('first', of, options);
}

/** The value of the newest row of the window. */
export function last<
  W extends string,
  T extends ColumnType,
  D extends DefaultOf<T> | undefined = undefined,
  G extends By = undefined,
>(of: Term<T>, options: WindowOptions<W, D, G> & NullOptions): Over<W, T, ValueOf<T> | null, D, G> {
  return aggregate('last', of, options);
}

/** Exact, so the state holds every value of the window: for what has few. */
export function countDistinct<W extends string, D extends number | undefined = undefined, G extends By = undefined>(
  of: Term,
  options: WindowOptions<W, D, G>,
): Over<W, 'i64', number, D, G> {
  return aggregate('count_distinct', of, options);
}

/** Exact up to `exactUpTo` values (1,024 when left out), an estimate by HyperLogLog beyond. */
export function approxCountDistinct<
  W extends string,
  D extends number | undefined = undefined,
  G extends By = undefined,
>(of: Term, options: WindowOptions<W, D, G> & { readonly exactUpTo?: number }): Over<W, 'i64', number, D, G> {
  const { exactUpTo } = options;
  return aggregate('approx_count_distinct', of, options, exactUpTo === undefined ? {} : { exactUpTo });
}

/** The `k` (1…1,000) most frequent values with their counts: most frequent first, among equals by value. */
export function topK<W extends string, T extends ColumnType>(
  of: Term<T>,
  options: Omit<WindowOptions<W, undefined, undefined>, 'default' | 'by'> & { readonly k: number },
): Aggregate<W, 'list', readonly (readonly [ValueOf<T>, number])[]> {
  return aggregate('top_k', of, options, { k: options.k });
}

/** The value at `q` (0…1), within 1 % of it. */
export function quantile<W extends string, D extends number | undefined = undefined, G extends By = undefined>(
  of: Numeric,
  options: WindowOptions<W, D, G> & { readonly q: number },
): Over<W, 'f64', number | null, D, G> {
  return aggregate('quantile', of, options, { q: options.q });
}

/** The value of the newest row that is not older than the view's `ttl`. Null where there is none, unless it has a default. */
export function latest<T extends ColumnType, D extends DefaultOf<T> | undefined = undefined>(
  of: Term<T>,
  options: Options<D> & NullOptions = {},
): LatestValue<T, Defaulted<ValueOf<T> | null, D>> {
  const { over: _, ...feature } = aggregate<Aggregate>('latest', of, { ...options, windows: {} });
  return { over: 'latest', spec: feature.spec };
}
