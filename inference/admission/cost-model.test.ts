import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CostModel } from './cost-model.ts';

function fitted(batches: readonly (readonly [rows: number, ms: number])[]): CostModel {
  const cost = new CostModel();
  batches.forEach(([rows, ms], i) => cost.observe(rows, ms, i));
  return cost;
}

const sizes = (count: number): number[] => Array.from({ length: count }, (_, i) => 1 + ((i * 37) % 60));

test('batches of several sizes give the line they lie on', () => {
  const cost = fitted(sizes(300).map((n) => [n, 2 + 0.25 * n]));
  expect(cost.fixedMs).toBeCloseTo(2, 2);
  expect(cost.perRowMs).toBeCloseTo(0.25, 3);
  expect(cost.estimateMs(128)).toBeCloseTo(34, 1);
});

test('batches of one size are estimated right at that size and called blind', () => {
  const cost = fitted(Array.from({ length: 100 }, () => [32, 8]));
  expect(cost.estimateMs(32)).toBeCloseTo(8, 6);
  expect(cost.isBlind).toBe(true);
  expect(fitted(sizes(100).map((n) => [n, n])).isBlind).toBe(false);
});

test('a slope once known is given up slowly while all batches have one size, so that larger ones are tried', () => {
  const cost = fitted(sizes(200).map((n) => [n, 1 + 0.5 * n]));
  for (let i = 0; i < 50; i++) cost.observe(8, 5, i);
  expect(cost.perRowMs).toBeGreaterThan(0.4);
  for (let i = 0; i < 2_000; i++) cost.observe(8, 5, i);
  expect(cost.perRowMs).toBeLessThan(0.1);
  expect(cost.estimateMs(8)).toBeCloseTo(5, 6);
});

test('one outlier moves the estimate by less than a tenth', () => {
  const cost = fitted(sizes(200).map((n) => [n, 1 + 0.1 * n]));
  const before = cost.estimateMs(30);
  cost.observe(30, 500, 201);
  expect(cost.estimateMs(30) / before).toBeLessThan(1.1);
});

test('a model that has become ten times slower is believed within a hundred batches', () => {
  const cost = fitted([
    ...sizes(200).map((n) => [n, 1 + 0.1 * n] as const),
    ...sizes(100).map((n) => [n, 10 + n] as const),
  ]);
  expect(cost.estimateMs(30)).toBeGreaterThan(0.6 * 40);
});

test('what a batch takes at best is remembered for a while', () => {
  const cost = fitted([[4, 2], ...new Array(20).fill([4, 30])]);
  expect(cost.leastMs).toBeCloseTo(2 / 0.98 ** 20);
  for (let i = 0; i < 200; i++) cost.observe(4, 30, i);
  expect(cost.leastMs).toBe(30);
});

test('it is trusted after three batches, for two seconds', () => {
  const cost = fitted([
    [1, 1],
    [1, 1],
  ]);
  expect(cost.isTrusted(2)).toBe(false);
  cost.observe(1, 1, 2);
  expect(cost.isTrusted(2_000)).toBe(true);
  expect(cost.isTrusted(3_000)).toBe(false);
});

test('whatever is observed, both parts are finite and not negative, and more rows never cost less', () => {
  const batches = fc.array(
    fc.tuple(fc.integer({ min: 1, max: 16_384 }), fc.double({ min: 0, max: 1e5, noNaN: true })),
    {
      minLength: 1,
      maxLength: 200,
    },
  );
  fc.assert(
    fc.property(batches, (observed) => {
      const cost = fitted(observed);
      expect(cost.fixedMs).toBeGreaterThanOrEqual(0);
      expect(cost.perRowMs).toBeGreaterThanOrEqual(0);
      expect(Number.isFinite(cost.estimateMs(16_384))).toBe(true);
    }),
  );
});

test('any line is found again from batches that lie on it', () => {
  const lines = fc.record({
    a: fc.double({ min: 0, max: 20, noNaN: true }),
    b: fc.double({ min: 0.001, max: 5, noNaN: true }),
  });
  fc.assert(
    fc.property(lines, ({ a, b }) => {
      const cost = fitted(sizes(400).map((n) => [n, a + b * n]));
      const expected = a + b * 40;
      expect(Math.abs(cost.estimateMs(40) - expected)).toBeLessThan(0.02 * expected + 0.01);
    }),
  );
});
