import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ascendingOrder } from './order.ts';

function byComparison(values: Float64Array): number[] {
  return Array.from(values, (_, i) => i).sort((i, j) => values[i]! - values[j]! || i - j);
}

test('short columns are ordered, ties by position', () => {
  expect([...ascendingOrder([3, 1, 2, 1, -0, 0])]).toEqual([4, 5, 1, 3, 2, 0]);
});

test('long columns are ordered like short ones, whatever their signs, sizes and ties', () => {
  const value = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.integer({ min: -3, max: 3 }),
    fc.constantFrom(0, -0, Number.MIN_VALUE, -Number.MIN_VALUE, Number.MAX_VALUE, 1 + Number.EPSILON),
  );
  fc.assert(
    fc.property(fc.array(value, { minLength: 50, maxLength: 300 }), fc.integer({ min: 5000, max: 6000 }), (pool, n) => {
      const values = Float64Array.from({ length: n }, (_, i) => pool[(i * 7919) % pool.length]!);
      expect([...ascendingOrder(values)]).toEqual(byComparison(values));
    }),
    { numRuns: 20 },
  );
});
