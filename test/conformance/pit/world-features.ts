/** Features, filters and values of random worlds. */
import fc from 'fast-check';
import type { CaseType } from './case-types.ts';

type TimeAt = (ticks: number) => string;

export const COLUMNS: readonly { readonly name: string; readonly type: CaseType }[] = [
  { name: 'x', type: 'i64' },
  { name: 'y', type: 'f64' },
  { name: 'b', type: 'bool' },
  { name: 'c', type: 'str' },
  { name: 't', type: 'ts' },
];

/** Values as a case writes them, small ones first; of instants the tick. */
export const VALUES: Readonly<Record<CaseType, readonly unknown[]>> = {
  i64: ['1', '2', null, '0', '-1', '9007199254740993', '9223372036854775807', '-9223372036854775808'],
  f64: [1, 0.1, null, 0.2, 0, -1.5, 1e16, 'NaN', 'Infinity', '-Infinity', 1.7e308, -1.7e308, 3e-200],
  bool: [true, false, null],
  str: ['a', 'B', null, '', 'é', 'e\u0301', '\uFFFD', '😀', 'NaN', 'a\u0000b', '\'"\\'],
  ts: [0, 3, null, 7],
};

export function valueOf(type: CaseType, nth: number, at: TimeAt): unknown {
  const value = VALUES[type][nth]!;
  return type === 'ts' && value !== null ? at(value as number) : value;
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

export const aWindowFunction = fc.constantFrom(...FUNCTIONS.map(({ fn }) => fn));

export const aFilter: fc.Arbitrary<FilterDraft> = fc.record({
  column: fc.nat(COLUMNS.length - 1),
  op: fc.constantFrom('==', '!=', '<', '<=', '>', '>=', 'in', 'is_null', 'not_null'),
  values: fc.array(fc.nat(12), { maxLength: 3 }),
});

export const aFeature: fc.Arbitrary<FeatureDraft> = fc.record({
  fn: fc.oneof({ weight: 2, arbitrary: fc.constant('latest') }, { weight: 5, arbitrary: aWindowFunction }),
  column: fc.nat(4),
  windows: fc.array(
    fc.record({
      length: fc.option(aDuration(1, 9), { freq: 6 }),
      offset: fc.oneof(fc.constant(0), fc.nat(3)),
    }),
    {
      minLength: 1,
      maxLength: 2,
    },
  ),
  filter: fc.oneof(fc.constant([]), fc.array(aFilter, { maxLength: 2 })),
  bucket: fc.option(fc.nat(COLUMNS.length - 1), { freq: 2 }),
  skip: fc.boolean(),
  fallback: fc.option(fc.nat(12), { freq: 3 }),
  unit: fc.constantFrom(1_000_000, 1, 7),
});

export function filterOf({ column, op, values }: FilterDraft, at: TimeAt): unknown[] {
  const { name, type } = COLUMNS[column]!;
  const read = (nth: number): unknown => valueOf(type, nth % VALUES[type].length, at);
  if (op === 'is_null' || op === 'not_null') return [name, op];
  return [name, op, op === 'in' ? values.map(read) : read(values[0] ?? 0)];
}

/** A feature of a case; `column` is absent where the function counts rows. */
export function featureOf(
  { fn, column, windows, filter, bucket, skip, fallback, unit }: FeatureDraft,
  name: string,
  at: TimeAt,
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
    ...(filter.length === 0 ? {} : { filter: filter.map((condition) => filterOf(condition, at)) }),
    ...(bucket === null || fn === 'latest' ? {} : { bucket: COLUMNS[bucket]!.name }),
    ...(skip ? { nulls: 'skip' } : {}),
    ...(fallback === null ? {} : defaultOf(valueOf(type, fallback % VALUES[type].length, at))),
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
