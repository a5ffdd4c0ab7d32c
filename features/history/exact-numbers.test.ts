import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteReader, ByteWriter } from './byte-stream.ts';
import { ExactSum } from './exact-sum.ts';
import { bitLength, exactOf, roundRatio, roundSquareRoot } from './rounding.ts';

const finite = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.double({ min: -1e3, max: 1e3, noNaN: true }),
  fc.constantFrom(
    0,
    5e-324,
    -5e-324,
    2 ** -1022,
    Number.MAX_VALUE,
    -Number.MAX_VALUE,
    2 ** 970,
    0.1,
    1,
    2 ** 53,
    2 ** -53,
  ),
);
const numbers = fc.array(finite, { maxLength: 12 });

function sumOf(values: readonly number[], square = false): ExactSum {
  const sum = new ExactSum();
  for (const value of values) {
    if (square) sum.addSquare(value);
    else sum.add(value);
  }
  return sum;
}

/** In units of 2^-2148, where every double and every square of one is whole. */
function wholeSum(values: readonly number[], square = false): bigint {
  let sum = 0n;
  for (const value of values) {
    const { mantissa, exponent } = exactOf(value);
    sum += square ? (mantissa * mantissa) << BigInt(2 * exponent + 2148) : mantissa << BigInt(exponent + 2148);
  }
  return sum;
}

function inUnits(sum: ExactSum): bigint {
  const { mantissa, exponent } = sum.exact();
  return mantissa << BigInt(exponent + 2148);
}

/** Whether no double lies nearer to numerator/denominator · 2^exponent, and of two as near the one with an even mantissa is taken. */
function isNearest(rounded: number, numerator: bigint, denominator: bigint): boolean {
  const distance = (value: number): bigint => {
    const gap = wholeSum([value]) * denominator - numerator;
    return gap < 0n ? -gap : gap;
  };
  if (!Number.isFinite(rounded)) {
    const size = numerator < 0n ? -numerator : numerator;
    // half a step above the largest double
    return size >= ((2n ** 54n - 1n) << BigInt(970 + 2148)) * denominator;
  }
  for (const neighbour of [neighbourOf(rounded, 1n), neighbourOf(rounded, -1n)]) {
    if (!Number.isFinite(neighbour)) continue;
    const [near, far] = [distance(rounded), distance(neighbour)];
    if (far < near || (far === near && exactOf(rounded).mantissa % 2n !== 0n)) return false;
  }
  return true;
}

function neighbourOf(value: number, step: bigint): number {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, value);
  const pattern = bits.getBigInt64(0);
  if (value === 0) return step > 0n ? 5e-324 : -5e-324;
  bits.setBigInt64(0, pattern + (value > 0 ? step : -step));
  return bits.getFloat64(0);
}

test('a sum is exact, whatever the order and the parts', () =>
  fc.assert(
    fc.property(numbers, numbers, fc.boolean(), (left, right, square) => {
      const whole = wholeSum([...left, ...right], square);
      expect(inUnits(sumOf([...left, ...right], square))).toBe(whole);
      const merged = sumOf(right.toReversed(), square);
      merged.merge(sumOf(left, square));
      expect(inUnits(merged)).toBe(whole);
    }),
    { numRuns: 2000 },
  ));

test('sum and mean are the exact value, rounded once, also where a partial sum is beyond the largest double', () => {
  fc.assert(
    fc.property(numbers, fc.integer({ min: 1, max: 1000 }), (values, count) => {
      const sum = sumOf(values);
      const whole = wholeSum(values);
      expect(isNearest(sum.rounded(), whole, 1n)).toBe(true);
      expect(isNearest(sum.over(count), whole, BigInt(count))).toBe(true);
    }),
    { numRuns: 3000 },
  );
  expect(sumOf([1e308, 1e308, -1e308]).rounded()).toBe(1e308);
  expect(sumOf([1e308, 1e308]).rounded()).toBe(Infinity);
  expect(sumOf([1e308, 1e308]).over(2)).toBe(1e308);
  expect(sumOf([1, 1e100, 1, -1e100]).rounded()).toBe(2);
  expect(sumOf(new Array<number>(10).fill(0.1)).rounded()).toBe(1);
  expect(sumOf([2 ** 53, 1, 2 ** -60]).rounded()).toBe(2 ** 53 + 2);
});

test('equal sums have equal bytes, and go on from them', () =>
  fc.assert(
    fc.property(numbers, numbers, (left, right) => {
      const bytes = (sum: ExactSum): Uint8Array => {
        const out = new ByteWriter();
        sum.write(out);
        return out.finish();
      };
      const both = sumOf([...left, ...right]);
      const read = ExactSum.read(new ByteReader(bytes(sumOf(left))));
      read.merge(sumOf(right.toReversed()));
      expect(bytes(read)).toEqual(bytes(both));
      expect(read.rounded()).toBe(both.rounded());
    }),
    { numRuns: 300 },
  ));

test('a ratio and a root are rounded once', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: -(2n ** 300n), max: 2n ** 300n }),
      fc.bigInt({ min: 1n, max: 2n ** 200n }),
      (top, bottom) => {
        expect(isNearest(roundRatio(top, bottom), top << 2148n, bottom)).toBe(true);
      },
    ),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.integer({ min: 1 }), (a, b) => {
      expect(roundRatio(BigInt(a), BigInt(b))).toBe(a / b + 0);
    }),
  );
  fc.assert(
    fc.property(fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }), (value) => {
      const { mantissa, exponent } = exactOf(value);
      expect(roundSquareRoot(mantissa, 1n, exponent)).toBe(Math.sqrt(value));
    }),
    { numRuns: 2000 },
  );
  expect(roundRatio(1n, 2n, -1074)).toBe(0);
  expect(roundRatio(3n, 2n, -1074)).toBe(2 ** -1073);
  expect(roundRatio(3n, 4n, -1074)).toBe(5e-324);
  expect(roundRatio(1n, 1n, -5000)).toBe(0);
  expect(roundRatio(-1n, 3n, 5000)).toBe(-Infinity);
  expect(bitLength(2n ** 100n)).toBe(101);
});

test('numbers, instants and texts come back from their bytes as they were', () =>
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.maxSafeInteger(),
          fc.constantFrom(2 ** 51, -(2 ** 51), 2 ** 51 + 1, 0, Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER),
          fc.bigInt({ min: 2n ** 53n, max: 2n ** 90n }),
          fc.bigInt({ min: -(2n ** 90n), max: -(2n ** 53n) }),
        ),
      ),
      fc.array(fc.string({ unit: 'grapheme', maxLength: 200 })),
      fc.array(fc.nat(2 ** 31 - 1)),
      (wholes, texts, unsigned) => {
        const out = new ByteWriter();
        for (const value of wholes) out.whole(value);
        for (const value of texts) out.text(value);
        for (const value of unsigned) out.unsigned(value * 2 ** 22);
        const from = new ByteReader(out.finish());
        expect(wholes.map(() => from.whole())).toEqual(wholes);
        expect(texts.map(() => from.text())).toEqual(texts);
        expect(unsigned.map(() => from.unsigned())).toEqual(unsigned.map((value) => value * 2 ** 22));
        expect(from.done).toBe(true);
        expect(() => from.byte()).toThrow(RangeError);
      },
    ),
  ));
