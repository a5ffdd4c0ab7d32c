import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  binCounts,
  chi2Contingency,
  divergences,
  ks2samp,
  meanShiftZ,
  nullRateTest,
  psiCounts,
  psiNumeric,
  referenceEdges,
  wasserstein1,
} from './drift.ts';

const counts = fc
  .array(fc.integer({ min: 0, max: 500 }), { minLength: 2, maxLength: 12 })
  .filter((c) => c.some((n) => n > 0));
const pairOfCounts = fc.integer({ min: 2, max: 12 }).chain((bins) => {
  const side = fc
    .array(fc.integer({ min: 0, max: 500 }), { minLength: bins, maxLength: bins })
    .filter((c) => c.some((n) => n > 0));
  return fc.tuple(side, side);
});
const sample = fc.array(
  fc.integer({ min: -20, max: 20 }).map((k) => k / 4),
  { minLength: 1, maxLength: 40 },
);
/** ½ in every bin pulls shares of unequal samples apart, so proportional counts are compared without smoothing. */
const UNSMOOTHED = { kind: 'none' } as const;

test('PSI is never negative, and the same in both directions', () => {
  fc.assert(
    fc.property(pairOfCounts, ([a, b]) => {
      const { psi } = psiCounts(a, b);
      expect(psi).toBeGreaterThanOrEqual(0);
      expect(psiCounts(b, a).psi).toBeCloseTo(psi, 12);
    }),
  );
});

test('PSI of a distribution on itself is 0', () => {
  fc.assert(
    fc.property(counts, (a) => {
      expect(psiCounts(a, a).psi).toBe(0);
      expect(
        psiCounts(
          a,
          a.map((n) => 2 * n),
          UNSMOOTHED,
        ).psi,
      ).toBeCloseTo(0, 12);
    }),
  );
});

test('PSI has known values', () => {
  expect(psiCounts([50, 30, 20], [40, 35, 25])).toEqual({
    psi: expect.closeTo(0.03997055680914599, 12),
    null_mean: expect.closeTo(0.04, 12),
    critical_99: expect.closeTo(0.1842068074395236, 12),
  });
  expect(psiCounts([50, 30, 20], [70, 30, 0], UNSMOOTHED).psi).toBe(Infinity);
  expect(psiCounts([50, 30, 20, 0], [30, 30, 20, 20], { kind: 'floor', value: 1e-4 }).psi).toBeCloseTo(
    1.6215855264156604,
    12,
  );
});

test('every value falls in the bin of the edges at or below it, and none is lost', () => {
  const valueOrMissing = fc.oneof(fc.integer({ min: -9, max: 9 }), fc.constant(NaN));
  fc.assert(
    fc.property(sample, fc.array(valueOrMissing, { minLength: 1, maxLength: 50 }), (reference, values) => {
      const edges = referenceEdges(reference, 10);
      const { counts: got, missing } = binCounts(values, edges);
      const want = new Array(edges.length + 1).fill(0) as number[];
      for (const value of values) if (!Number.isNaN(value)) want[edges.filter((edge) => edge <= value).length]! += 1;
      expect([...got]).toEqual(want);
      expect(missing).toBe(values.filter(Number.isNaN).length);
      for (let i = 1; i < edges.length; i++) expect(edges[i]!).toBeGreaterThan(edges[i - 1]!);
    }),
  );
});

test('bins of parts of a window add up to the bins of the window', () => {
  fc.assert(
    fc.property(sample, sample, sample, (reference, a, b) => {
      const edges = referenceEdges(reference, 10);
      const whole = binCounts([...a, ...b], edges).counts;
      const partA = binCounts(a, edges).counts;
      const partB = binCounts(b, edges).counts;
      expect([...whole]).toEqual([...partA].map((n, i) => n + partB[i]!));
    }),
  );
});

test('missing values are one more bin as soon as either side has any', () => {
  expect(psiNumeric([1, 2, 3, 4], [1, 2, 3, NaN], { bins: 2 })).toMatchObject({
    ref_counts: [2, 2, 0],
    cur_counts: [2, 1, 1],
  });
  expect(psiNumeric([1, 2, 3, 4], [1, 2, 3, 4], { bins: 2 })).toMatchObject({
    ref_counts: [2, 2],
    psi: 0,
    psi_unsmoothed: 0,
  });
});

test('KS distance is 0 on itself, at most 1, and its p-values lie in [0, 1]', () => {
  fc.assert(
    fc.property(sample, sample, (a, b) => {
      expect(ks2samp(a, a)).toEqual({ d: 0, p_exact: 1, p_asymptotic: 1 });
      const { d, p_exact: p } = ks2samp(a, b);
      expect(d).toBeLessThanOrEqual(1);
      expect(p!).toBeGreaterThan(0);
      expect(p!).toBeLessThanOrEqual(1);
    }),
  );
});

test('the exact KS law counts the orderings that reach the distance', () => {
  // 2 of the C(10, 5) orderings put one sample wholly before the other
  expect(ks2samp([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]).p_exact).toBeCloseTo(2 / 252, 15);
});

test('a 2×2 table also has the Yates and the exact p-value', () => {
  // scipy 1.17
  expect(
    chi2Contingency([
      [8, 2],
      [1, 5],
    ]),
  ).toMatchObject({
    p_yates: expect.closeTo(0.050961936967763424, 12),
    p_fisher: expect.closeTo(0.03496503496503495, 12),
  });
  expect(
    chi2Contingency([
      [50, 30, 20],
      [40, 35, 25],
    ]),
  ).not.toHaveProperty('p_fisher');
});

test('divergences are 0 on itself, symmetric where they should be, and bounded', () => {
  fc.assert(
    fc.property(pairOfCounts, ([p, q]) => {
      const pq = divergences(p, q);
      const qp = divergences(q, p);
      expect(pq.kl_pq).toBe(qp.kl_qp);
      expect(pq.js_divergence_nats).toBeCloseTo(qp.js_divergence_nats, 12);
      expect(pq.js_distance_base2).toBeLessThanOrEqual(1 + 1e-12);
      expect(pq.hellinger).toBeLessThanOrEqual(1 + 1e-12);
      expect(pq.tvd).toBeLessThanOrEqual(1 + 1e-12);
      expect(divergences(p, p)).toMatchObject({ kl_pq: 0, js_divergence_nats: 0, hellinger: 0, tvd: 0, l_inf: 0 });
    }),
  );
});

test('the Wasserstein distance of a shifted sample is the shift', () => {
  fc.assert(
    fc.property(sample, fc.integer({ min: -8, max: 8 }), (a, shift) => {
      expect(
        wasserstein1(
          a,
          a.map((x) => x + shift),
        ).w1,
      ).toBeCloseTo(Math.abs(shift), 10);
    }),
  );
});

test('a change of the null rate is tested, and no nulls at all is no change', () => {
  expect(nullRateTest({ refNull: 10, refN: 1000, curNull: 30, curN: 1000 })).toMatchObject({
    z: expect.closeTo(3.1943828249996993, 9),
    p_fisher: expect.closeTo(0.0020083335618300093, 9),
    p_fisher_increase: expect.closeTo(0.0010041667809150047, 9),
  });
  expect(nullRateTest({ refNull: 0, refN: 5, curNull: 0, curN: 9 })).toMatchObject({ z: 0, p: 1, p_fisher: 1 });
});

test('a mean shift is measured in baseline standard errors', () => {
  expect(meanShiftZ([7], { refMean: 5, refSd: 1 })).toEqual({
    mean: 7,
    shift_in_sd: 2,
    z: 2,
    p: expect.closeTo(0.04550026389635839, 12),
  });
});
