import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ColumnType } from '../../domain/project/expression.ts';
import type { AggregateFunction } from '../../domain/project/spec.ts';
import { type Accumulator, aggregateOf, Groups } from './aggregates.ts';
import { ByteReader, ByteWriter } from './byte-stream.ts';
import type { Datum } from './fact.ts';
import { compareData } from './order.ts';
import type { HistoryOutput, OutputValue } from './plan.ts';

function anOutput(fn: AggregateFunction, more: Partial<HistoryOutput> = {}): HistoryOutput {
  return {
    feature: 'f',
    window: 'w',
    name: 'f__w',
    type: 'f64',
    fn,
    slot: 0,
    where: -1,
    by: -1,
    over: { length: 3_000_000, hop: null, offset: 0 },
    nulls: 'keep',
    unit: 1_000_000,
    k: 2,
    q: 0.5,
    exactUpTo: 3,
    default: null,
    ...more,
  };
}

interface Entry {
  readonly value: Datum;
  readonly group: 'a' | 'b';
}

function accumulate(
  output: HistoryOutput,
  type: ColumnType,
  entries: readonly (Entry & { at: number })[],
): Accumulator {
  const accumulator = aggregateOf(output, type, output.by < 0 ? null : 'str').create();
  for (const { value, group, at } of entries) {
    const into = accumulator instanceof Groups ? accumulator.group(group) : accumulator;
    into.add(value, { eventAt: at % 3, availableAt: at % 2, seq: at });
  }
  return accumulator;
}

function bytesOf(accumulator: Accumulator): Uint8Array {
  const out = new ByteWriter();
  accumulator.write(out);
  return out.finish();
}

const VALUES: Record<ColumnType, fc.Arbitrary<Datum>> = {
  i64: fc.oneof(fc.integer({ min: -3, max: 3 }), fc.maxSafeInteger(), fc.constantFrom(2n ** 60n, -(2n ** 62n))),
  f64: fc.oneof(
    fc.constantFrom(0, 1, 0.1, NaN, Infinity, -Infinity, 1e308),
    fc.double().map((x) => x + 0),
  ),
  bool: fc.boolean(),
  str: fc.constantFrom('', 'a', 'b', '\uFFFD', '\u{10000}'),
  ts: fc.constantFrom(0, 5, -62_135_596_800_000_000n, 253_402_300_799_999_999n),
};

const NUMERIC: readonly AggregateFunction[] = [
  ...(['sum', 'mean', 'variance_pop', 'variance_samp', 'stddev_pop', 'stddev_samp', 'quantile'] as const),
];
const OF_ALL: readonly AggregateFunction[] = [
  ...(['count', 'min', 'max', 'first', 'last', 'count_distinct', 'approx_count_distinct', 'top_k', 'rate'] as const),
];
const shape = fc.oneof(
  fc.record({ fn: fc.constantFrom(...NUMERIC), type: fc.constantFrom<ColumnType[]>('i64', 'f64') }),
  fc.record({ fn: fc.constantFrom(...OF_ALL), type: fc.constantFrom<ColumnType[]>('i64', 'f64', 'bool', 'str', 'ts') }),
  fc.constant({ fn: 'share' as const, type: 'bool' as const }),
);

test('an aggregate of parts, in any order and through bytes, is that of the whole, to the bit', () =>
  fc.assert(
    fc.property(
      shape.chain(({ fn, type }) =>
        fc.record({
          output: fc
            .record({ grouped: fc.boolean(), skips: fc.boolean() })
            .map(({ grouped, skips }) =>
              anOutput(fn, { by: grouped && fn !== 'top_k' ? 1 : -1, nulls: skips ? 'skip' : 'keep' }),
            ),
          type: fc.constant(type),
          entries: fc.array(
            fc.record({
              value: fc.option(VALUES[type], { freq: 5 }),
              group: fc.constantFrom('a' as const, 'b' as const),
            }),
            { maxLength: 12 },
          ),
          cut: fc.nat(12),
          reversed: fc.boolean(),
        }),
      ),
      ({ output, type, entries, cut, reversed }) => {
        const placed = entries.map((entry, at) => ({ ...entry, at }));
        const whole = accumulate(output, type, placed);
        const first = bytesOf(accumulate(output, type, placed.slice(0, cut).toReversed()));
        const merged = aggregateOf(output, type, output.by < 0 ? null : 'str').read(new ByteReader(first));
        const rest = accumulate(output, type, placed.slice(cut));
        const parts = reversed ? [rest, merged] : [merged, rest];
        parts[0]!.merge(parts[1]!);
        expect(bytesOf(parts[0]!)).toEqual(bytesOf(whole));
        expect(parts[0]!.result(output)).toEqual(whole.result(output));
      },
    ),
    { numRuns: 1500 },
  ));

function resultOf(
  fn: AggregateFunction,
  type: ColumnType,
  values: readonly Datum[],
  more: Partial<HistoryOutput> = {},
): OutputValue {
  const output = anOutput(fn, more);
  return accumulate(
    output,
    type,
    values.map((value, at) => ({ value, group: 'a', at })),
  ).result(output);
}

test.each<[AggregateFunction, ColumnType, Datum[], OutputValue]>([
  ['sum', 'f64', [], null],
  ['sum', 'f64', [null], null],
  ['count', 'f64', [null, NaN], 1],
  ['count_distinct', 'f64', [], 0],
  ['count_distinct', 'f64', [NaN, NaN, 0, null], 2],
  ['sum', 'f64', [1, NaN], NaN],
  ['sum', 'f64', [Infinity, 1], Infinity],
  ['mean', 'f64', [Infinity, -Infinity], NaN],
  ['mean', 'f64', [1e308, 1e308, 1e308], 1e308],
  ['sum', 'f64', [1e308, 1e308, -1e308], 1e308],
  ['sum', 'bool', [true, true, false], 2],
  ['mean', 'bool', [true, true, false, false], 0.5],
  ['mean', 'i64', [2n ** 62n, 2n ** 62n + 2048n], 2 ** 62 + 1024],
  ['stddev_pop', 'f64', [5], 0],
  ['stddev_samp', 'f64', [5], null],
  ['stddev_samp', 'f64', [1, Infinity], NaN],
  ['stddev_pop', 'f64', [1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16], Math.sqrt(22.5)],
  ['variance_samp', 'i64', [1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16], 30],
  ['min', 'f64', [NaN, Infinity], Infinity],
  ['max', 'f64', [NaN, Infinity], NaN],
  ['max', 'str', ['\u{10000}', '\uFFFD'], '\u{10000}'],
  ['min', 'bool', [true, false], false],
  ['rate', 'bool', [true, true], 2 / 3],
  ['share', 'bool', [true, false, null, false, false], 0.25],
  [
    'top_k',
    'str',
    ['b', 'a', 'b', null, 'c', 'c'],
    [
      ['b', 2],
      ['c', 2],
    ],
  ],
  ['approx_count_distinct', 'i64', [1, 2, 3, 3], 3],
  ['approx_count_distinct', 'i64', [1, 2, 3, 4, 5], 5],
  ['quantile', 'i64', [0, 0, 7], 0],
])('%s over %s of %s is %s', (fn, type, values, wanted) => {
  expect(resultOf(fn, type, values)).toEqual(wanted);
});

test('first and last are by position; nulls count unless they are skipped', () => {
  const values = [null, 'b', 'c', null];
  // positions (0,0,0), (1,1,1), (2,0,2), (0,1,3)
  expect(resultOf('first', 'str', values)).toBeNull();
  expect(resultOf('first', 'str', values, { nulls: 'skip' })).toBe('b');
  expect(resultOf('last', 'str', values)).toBe('c');
});

test('groups are in the order of values: NaN last, text by code point', () => {
  const order = (values: NonNullable<Datum>[]): NonNullable<Datum>[] => values.toSorted(compareData);
  expect(order([NaN, 1, Infinity, -1])).toEqual([-1, 1, Infinity, NaN]);
  expect(order([2n ** 60n, 5, -(2n ** 60n)])).toEqual([-(2n ** 60n), 5, 2n ** 60n]);
  expect(order(['\u{10000}', '\uFFFD', 'b', ''])).toEqual(['', 'b', '\uFFFD', '\u{10000}']);
});
