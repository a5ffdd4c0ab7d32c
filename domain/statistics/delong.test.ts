import fc from 'fast-check';
import { expect, test } from 'vitest';
import { delong } from './delong.ts';
import { StatisticError } from './statistic-error.ts';

const score = fc.integer({ min: -5, max: 5 }).map((k) => k / 2);
const pairedRows = fc
  .tuple(
    fc.array(fc.tuple(fc.constant(0), score, score), { minLength: 2, maxLength: 20 }),
    fc.array(fc.tuple(fc.constant(1), score, score), { minLength: 2, maxLength: 20 }),
  )
  .map(([negatives, positives]) => [...negatives, ...positives])
  .map((rows) => ({ y: rows.map((r) => r[0]), a: rows.map((r) => r[1]), b: rows.map((r) => r[2]) }));

/** The structural components as DeLong wrote them, O(mn). */
function components(y: readonly number[], s: readonly number[]): { v10: number[]; v01: number[] } {
  const positives = s.filter((_, i) => y[i] === 1);
  const negatives = s.filter((_, i) => y[i] === 0);
  const win = (p: number, q: number): number => (p > q ? 1 : p === q ? 0.5 : 0);
  const mean = (values: number[]): number => values.reduce((t, v) => t + v, 0) / values.length;
  return {
    v10: positives.map((p) => mean(negatives.map((q) => win(p, q)))),
    v01: negatives.map((q) => mean(positives.map((p) => win(p, q)))),
  };
}

function covariance(a: readonly number[], b: readonly number[]): number {
  const meanA = a.reduce((t, v) => t + v, 0) / a.length;
  const meanB = b.reduce((t, v) => t + v, 0) / b.length;
  return a.reduce((t, v, i) => t + (v - meanA) * (b[i]! - meanB), 0) / (a.length - 1);
}

test('variances and covariance equal those of the structural components', () => {
  fc.assert(
    fc.property(pairedRows, ({ y, a, b }) => {
      const result = delong(y, a, b);
      const ca = components(y, a);
      const cb = components(y, b);
      const cov = (p: typeof ca, q: typeof ca): number =>
        covariance(p.v10, q.v10) / p.v10.length + covariance(p.v01, q.v01) / p.v01.length;
      expect(result.var_a).toBeCloseTo(cov(ca, ca), 12);
      expect(result.var_b).toBeCloseTo(cov(cb, cb), 12);
      expect(result.cov).toBeCloseTo(cov(ca, cb), 12);
      expect(result.diff).toBeCloseTo(result.auc_a - result.auc_b, 12);
    }),
  );
});

test('swapping the scores negates the difference and z, and keeps p', () => {
  fc.assert(
    fc.property(pairedRows, ({ y, a, b }) => {
      const ab = delong(y, a, b);
      const ba = delong(y, b, a);
      expect(ba.diff).toBe(0 - ab.diff);
      expect(ba.z).toBe(ab.z === null ? null : 0 - ab.z);
      expect(ba.p).toBe(ab.p);
    }),
  );
});

test('a monotone map of a score is no difference at all', () => {
  fc.assert(
    fc.property(pairedRows, ({ y, a }) => {
      const result = delong(
        y,
        a,
        a.map((s) => Math.exp(s) + 3),
      );
      expect([result.diff, result.z, result.p]).toEqual([0, 0, 1]);
    }),
  );
});

test('a difference without variance has no z', () => {
  expect(delong([0, 0, 1, 1], [1, 2, 3, 4], [4, 3, 2, 1])).toMatchObject({ diff: 1, z: null, p: 0 });
});

test('one row of a class is too few', () => {
  expect(() => delong([0, 1, 1], [1, 2, 3], [1, 2, 3])).toThrowError(
    expect.objectContaining({ constructor: StatisticError, code: 'insufficient_n' }) as Error,
  );
});
