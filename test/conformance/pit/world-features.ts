/** Features, filters and values of random worlds. */
import fc from 'fast-check';
import type { CaseType } from './case-types.ts';

export const COLUMNS: readonly { readonly name: string; readonly type: CaseType }[] = [
  { name: 'x', type: 'i64' },
  { name: 'y', type: 'f64' },
  { name: 'b', type: 'bool' },
  { name: 'c', type: 'str' },
  { name: 't', type: 'ts' },
];

/** The nth value of a type, as a case writes it. */
export type ValueOf = (type: CaseType, nth: number) => unknown;

/** Small values first; of instants the tick. A world takes its numbers from one palette, so that they meet in sums and ties. */
const WHOLES: readonly (readonly unknown[])[] = [
  ['1', '2', null, '0', '-1'],
  ['9007199254740993', '1', '9007199254740992', null, '-9007199254740993'],
  ['9223372036854775807', '-9223372036854775808', '1', null],
];
const REALS: readonly (readonly unknown[])[] = [
  [1, 0.1, null, 0.2, 0, -1.5, 0.3],
  [1, 1e16, -1e16, null, 0.5],
  [1.7e308, -1.7e308, null, 1, 2 ** 970],
  ['NaN', 1, 'Infinity', null, '-Infinity', 0],
  [3e-200, 1e200, -3e-200, null, -1e200],
];
const OTHERS = {
  bool: [true, false, null],
  str: ['a', 'B', null, '', 'é', 'e\u0301', '\uFFFD', '😀', 'NaN', 'a\u0000b', `'"\\`],
  ts: [0, 3, null, 7],
};

/** More than there are values of any type: they come round again. */
export const NTH = 11;
export const PALETTES = WHOLES.length * REALS.length;

export function valuesOf(at: (ticks: number) => string, palette: number): ValueOf {
  const values: Readonly<Record<CaseType, readonly unknown[]>> = {
    ...OTHERS,
    i64: WHOLES[palette % WHOLES.length]!,
    f64: REALS[Math.floor(palette / WHOLES.length)]!,
  };
  return (type, nth) => {
    const value = values[type][nth % values[type].length];
    return type === 'ts' && value !== null ? at(value as number) : value;
  };
}

const NUMERIC = [0, 1, 2];
const FUNCTIONS: readonly { readonly fn: string; readonly columns: readonly number[] }[] = [
  { fn: 'count', columns: [] },
  { fn: 'sum', columns: NUMERIC },
  { fn: 'mean', columns: NUMERIC },
  { fn: 'min', columns: [0, 1, 2, 3, 4] },
  { fn: 'max', columns: [0, 1, 2, 3, 4] },
  { fn: 'stddev_samp', columns: [0, 1] },
  { fn: 'stddev_pop', columns: [0, 1] },
  { fn: 'first', columns: [0, 1, 2, 3, 4] },
  { fn: 'last', columns: [0, 1, 2, 3, 4] },
  { fn: 'count_distinct', columns: [0, 1, 2, 3, 4] },
  { fn: 'rate', columns: [] },
];

/** Microseconds: mostly a few, sometimes a day, a year of the calendar, more than all of its years. */
export type Duration = number | bigint;

const LONG: readonly Duration[] = [86_400_000_000, 31_557_600_000_000, 2n ** 53n, 10n ** 18n];

/** @param least the shortest */
export function aDuration(least: number, short: number): fc.Arbitrary<Duration> {
  return fc.oneof(
    { weight: 12, arbitrary: fc.integer({ min: least, max: short }) },
    { weight: 1, arbitrary: fc.constantFrom(...LONG) },
  );
}

export interface FilterDraft {
  readonly column: number;
  readonly op: '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'is_null' | 'not_null';
  readonly values: readonly number[];
}

export interface FeatureDraft {
  readonly fn: string;
  /** Counted among the columns that the function takes. */
  readonly column: number;
  readonly windows: readonly { readonly length: Duration | null; readonly offset: number }[];
  readonly filter: readonly FilterDraft[];
  readonly bucket: number | null;
  readonly skip: boolean;
  readonly fallback: number | null;
  readonly unit: number;
}

/** Null, but for that many in ten. */
export function inTen<T>(times: number, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> {
  return fc.oneof({ weight: 10 - times, arbitrary: fc.constant(null) }, { weight: times, arbitrary });
}

export const aWindowFunction = fc.constantFrom(...FUNCTIONS.map(({ fn }) => fn));

export const aFilter: fc.Arbitrary<FilterDraft> = fc.record({
  column: fc.nat(COLUMNS.length - 1),
  op: fc.constantFrom('==', '!=', '<', '<=', '>', '>=', 'in', 'is_null', 'not_null'),
  values: fc.array(fc.nat(NTH), { maxLength: 3 }),
});

export const aFeature: fc.Arbitrary<FeatureDraft> = fc.record({
  fn: fc.oneof({ weight: 2, arbitrary: fc.constant('latest') }, { weight: 5, arbitrary: aWindowFunction }),
  column: fc.nat(4),
  windows: fc.array(
    fc.record({
      length: inTen(8, aDuration(1, 9)),
      offset: fc.oneof(fc.constant(0), fc.nat(3)),
    }),
    {
      minLength: 1,
      maxLength: 2,
    },
  ),
  filter: fc.oneof(fc.constant([]), fc.array(aFilter, { maxLength: 2 })),
  bucket: inTen(3, fc.nat(COLUMNS.length - 1)),
  skip: fc.boolean(),
  fallback: inTen(3, fc.nat(NTH)),
  unit: fc.constantFrom(1_000_000, 1, 7),
});

export function filterOf({ column, op, values }: FilterDraft, valueOf: ValueOf): unknown[] {
  const { name, type } = COLUMNS[column]!;
  const read = (nth: number): unknown => valueOf(type, nth);
  if (op === 'is_null' || op === 'not_null') return [name, op];
  return [name, op, op === 'in' ? values.map(read) : read(values[0] ?? 0)];
}

/** A feature of a case; `column` is absent where the function counts rows. */
export function featureOf(
  { fn, column, windows, filter, bucket, skip, fallback, unit }: FeatureDraft,
  name: string,
  valueOf: ValueOf,
): Record<string, unknown> {
  const taken = fn === 'latest' || fn === 'any' ? [0, 1, 2, 3, 4] : FUNCTIONS.find((known) => known.fn === fn)!.columns;
  // rows are counted, or the values that a column has
  const of =
    fn === 'count' && column > 1
      ? COLUMNS[column]
      : taken.length === 0
        ? undefined
        : COLUMNS[taken[column % taken.length]!];
  const isRate = fn === 'rate';
  // over all of the past there is no rate
  const lengths = windows.map(({ length }) => (isRate ? (length ?? 1) : length));
  const type = resultType(fn, of?.type);
  return {
    name,
    fn,
    ...(of === undefined ? {} : { column: of.name }),
    ...(fn === 'latest'
      ? {}
      : {
          windows: windows.map(({ offset }, w) => ({
            name: `w${w}`,
            us: lengths[w],
            ...(offset === 0 ? {} : { offset_us: offset }),
          })),
        }),
    ...(filter.length === 0 ? {} : { filter: filter.map((condition) => filterOf(condition, valueOf)) }),
    ...(bucket === null || fn === 'latest' ? {} : { bucket: COLUMNS[bucket]!.name }),
    ...(skip ? { nulls: 'skip' } : {}),
    ...(fallback === null ? {} : defaultOf(valueOf(type, fallback))),
    ...(isRate ? { unit_us: unit } : {}),
  };
}

function defaultOf(value: unknown): { readonly default?: unknown } {
  return value === null ? {} : { default: value };
}

function resultType(fn: string, column: CaseType | undefined): CaseType {
  if (fn === 'sum') return column === 'f64' ? 'f64' : 'i64';
  if (['mean', 'rate', 'stddev_pop', 'stddev_samp'].includes(fn)) return 'f64';
  if (fn === 'count' || fn === 'count_distinct') return 'i64';
  return column ?? 'i64';
}
