import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteReader, ByteWriter } from './byte-stream.ts';
import { HyperLogLog } from './hyperloglog.ts';
import { QuantileSketch, RELATIVE_ERROR } from './quantile-sketch.ts';

function bytesOf(sketch: { write(out: ByteWriter): void }): Uint8Array {
  const out = new ByteWriter();
  sketch.write(out);
  return out.finish();
}

test.each([
  ['whole numbers', (i: number) => i],
  ['doubles', (i: number) => i * 0.37],
  ['texts', (i: number) => `user-${i}`],
  ['spaced instants', (i: number) => 1.7e15 + i * 3.6e9],
  ['bigints', (i: number) => 2n ** 60n + BigInt(i)],
])('a distinct count of %s is within 4 standard errors', (_, valueAt) => {
  const sketch = new HyperLogLog();
  let added = 0;
  for (const count of [10, 1000, 5000, 20_000, 100_000, 400_000]) {
    for (; added < count; added++) sketch.add(valueAt(added));
    // 1.04 / √2^14 = 0.81 %
    expect(Math.abs(sketch.estimate() / count - 1)).toBeLessThan(4 * 0.0081);
  }
});

test('the sketch of a union is the union of the sketches, in every order, and survives its bytes', () =>
  fc.assert(
    fc.property(fc.array(fc.integer()), fc.array(fc.integer()), (left, right) => {
      const sketch = (values: readonly number[]): HyperLogLog => {
        const made = new HyperLogLog();
        for (const value of values) made.add(value);
        return made;
      };
      const merged = HyperLogLog.read(new ByteReader(bytesOf(sketch(left.toReversed()))));
      merged.merge(sketch(right));
      expect(bytesOf(merged)).toEqual(bytesOf(sketch([...left, ...right, ...left])));
    }),
    { numRuns: 50 },
  ));

const value = fc.oneof(
  fc.double({ noNaN: true }),
  fc.double({ min: -100, max: 100, noNaN: true }),
  fc.constantFrom(0, 1, 5e-324, Number.MAX_VALUE, -Number.MAX_VALUE, NaN),
);

test('a quantile is within 1 % of the value of its rank: zeros, negatives, infinities and the smallest doubles included', () =>
  fc.assert(
    fc.property(
      fc.array(value, { minLength: 1, maxLength: 60 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (values, q) => {
        const sketch = new QuantileSketch();
        for (const each of values) sketch.add(each);
        const sorted = values.toSorted((a, b) => (Number.isNaN(a) ? 1 : Number.isNaN(b) ? -1 : a - b));
        const exact = sorted[Math.floor(q * (values.length - 1))]!;
        const found = sketch.quantile(q);
        if (!Number.isFinite(exact) || exact === 0) expect(found + 0).toBe(exact + 0);
        // below 2^-1022 doubles themselves are that far apart
        else expect(Math.abs(found - exact)).toBeLessThanOrEqual(Math.abs(exact) * RELATIVE_ERROR * 1.000001 + 5e-324);
      },
    ),
    { numRuns: 3000 },
  ));

test('a sketch of parts is the sketch of the whole', () =>
  fc.assert(
    fc.property(fc.array(value), fc.array(value), (left, right) => {
      const sketch = (values: readonly number[]): QuantileSketch => {
        const made = new QuantileSketch();
        for (const each of values) made.add(each);
        return made;
      };
      const merged = QuantileSketch.read(new ByteReader(bytesOf(sketch(right))));
      merged.merge(sketch(left.toReversed()));
      expect(merged.count).toBe(left.length + right.length);
      expect(bytesOf(merged)).toEqual(bytesOf(sketch([...left, ...right])));
    }),
  ));
