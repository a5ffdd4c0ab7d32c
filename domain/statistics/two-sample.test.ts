import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bootstrapMean } from './bootstrap.ts';
import { mannWhitney } from './mann-whitney.ts';
import { adjustPValues } from './multiple-testing.ts';
import { cuped, mcnemar, twoProportionZ, welchT } from './two-sample.ts';

const value = fc.integer({ min: -40, max: 40 }).map((k) => k / 8);
const arm = fc.array(value, { minLength: 2, maxLength: 25 }).filter((values) => new Set(values).size > 1);

test('swapping the arms negates the differences and keeps the p-values', () => {
  fc.assert(
    fc.property(arm, arm, (a, b) => {
      const ab = welchT(a, b, 0.95);
      const ba = welchT(b, a, 0.95);
      expect(ba.diff).toBeCloseTo(-ab.diff, 12);
      expect(ba.p).toBeCloseTo(ab.p, 12);
      expect(ba.ci[0]).toBeCloseTo(-ab.ci[1], 9);
      const u = mannWhitney(a, b);
      const swapped = mannWhitney(b, a);
      expect(u.u_b + swapped.u_b).toBe(a.length * b.length);
      expect(swapped.p_asymptotic_cc).toBeCloseTo(u.p_asymptotic_cc, 12);
      expect(swapped.hodges_lehmann).toBe(0 - u.hodges_lehmann);
    }),
  );
});

test('Welch rejects exactly when its interval leaves 0', () => {
  fc.assert(
    fc.property(arm, arm, (a, b) => {
      const { p, ci } = welchT(a, b, 0.95);
      if (Math.abs(p - 0.05) < 1e-6) return;
      expect(p < 0.05).toBe(ci[0] > 0 || ci[1] < 0);
    }),
  );
});

test('a constant arm has a variance of exactly 0', () => {
  expect(() => welchT([0.1, 0.1, 0.1], [0.3, 0.3, 0.3], 0.95)).toThrowError(/constant/);
  expect(welchT([5, 5, 5], [4, 6, 8], 0.95)).toMatchObject({ df: 2, t: expect.closeTo(0.8660254037844387, 12) });
});

test('proportions have known values', () => {
  // statsmodels 0.15
  const result = twoProportionZ({ x: 120, n: 1000 }, { x: 150, n: 1000 }, 0.95);
  expect(result.p_two_sided).toBeCloseTo(0.04964038686536878, 10);
  expect(result.newcombe_ci[0]).toBeCloseTo(1.3782434204051563e-5, 10);
  expect(result.clopper_pearson_b[1]).toBeCloseTo(0.17365812856703597, 10);
  expect(twoProportionZ({ x: 0, n: 9 }, { x: 0, n: 7 }, 0.95)).toMatchObject({ z: 0, p_two_sided: 1 });
});

test('every interval of a rate holds the rate', () => {
  const trials = fc.integer({ min: 1, max: 300 }).chain((n) => fc.integer({ min: 0, max: n }).map((x) => ({ x, n })));
  fc.assert(
    fc.property(trials, trials, (a, b) => {
      const { diff, wilson_b: wilson, clopper_pearson_b: exact, newcombe_ci: newcombe } = twoProportionZ(a, b, 0.9);
      const rate = b.x / b.n;
      for (const [low, high] of [wilson, exact]) {
        expect(low).toBeLessThanOrEqual(rate + 1e-12);
        expect(high).toBeGreaterThanOrEqual(rate - 1e-12);
      }
      expect(newcombe[0]).toBeLessThanOrEqual(diff + 1e-12);
      expect(newcombe[1]).toBeGreaterThanOrEqual(diff - 1e-12);
    }),
  );
});

test('the exact Mann–Whitney law is null with ties and counts orderings without', () => {
  expect(mannWhitney([1, 2, 3, 4], [10, 20, 30, 40]).p_exact).toBeCloseTo(2 / 70, 14);
  expect(mannWhitney([1, 2], [2, 3]).p_exact).toBeNull();
  expect(mannWhitney([1, 1], [1, 1]).p_asymptotic_cc).toBe(1);
});

test('the Hodges–Lehmann shift is the same by counting as by listing the differences', () => {
  // 1500² pairs are beyond the listed ones; the shift between the arms is 0.25 throughout
  const a = Array.from({ length: 1500 }, (_, i) => ((i * 7919) % 1500) / 8);
  expect(
    mannWhitney(
      a,
      a.map((x) => x + 0.25),
    ).hodges_lehmann,
  ).toBe(0.25);
});

test('CUPED takes out what the covariate explains', () => {
  const noise = [0.3, -0.2, 0.1, -0.4, 0.2, 0.0, -0.1, 0.1];
  const x = [1, 5, 2, 8, 4, 7, 3, 6];
  const a = { x, y: x.map((v, i) => 2 * v + noise[i]!) };
  const b = { x: [...x].reverse(), y: [...x].reverse().map((v, i) => 2 * v + 1 - noise[i]!) };
  const result = cuped(a, b);
  expect(result.theta).toBeCloseTo(2, 1);
  expect(result.diff).toBeCloseTo(1, 1);
  expect(result.variance_ratio).toBeLessThan(0.05);
  expect(cuped({ x: [1, 1, 1], y: [1, 2, 3] }, { x: [1, 1, 1], y: [2, 3, 5] })).toMatchObject({
    theta: 0,
    variance_ratio: 1,
  });
});

test('McNemar looks only at the rows one model alone gets wrong', () => {
  expect(mcnemar(12, 4)).toEqual({ p_exact: expect.closeTo(0.076812744140625, 12), chi2: 4 });
  expect(mcnemar(0, 0)).toEqual({ p_exact: 1, chi2: null });
});

test('adjusted p-values are never below the raw ones, keep their order, and BH ≤ Holm, BH ≤ BY', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 30 }), (p) => {
      const { bh_adjusted: bh, holm_adjusted: holm, by_adjusted: by } = adjustPValues(p, 0.05);
      for (let i = 0; i < p.length; i++) {
        expect(bh[i]!).toBeGreaterThanOrEqual(p[i]! * (1 - 1e-12));
        expect(holm[i]!).toBeGreaterThanOrEqual(bh[i]! * (1 - 1e-12));
        expect(by[i]!).toBeGreaterThanOrEqual(bh[i]!);
        for (let j = 0; j < p.length; j++) if (p[i]! < p[j]!) expect(bh[i]!).toBeLessThanOrEqual(bh[j]!);
      }
    }),
  );
});

test('a bootstrap interval depends on the seed alone and holds the mean', () => {
  const x = Array.from({ length: 60 }, (_, i) => ((i * 37) % 60) / 6);
  const interval = bootstrapMean(x, { level: 0.95, resamples: 2000, seed: 4 });
  expect(bootstrapMean(x, { level: 0.95, resamples: 2000, seed: 4 })).toEqual(interval);
  expect(bootstrapMean(x, { level: 0.95, resamples: 2000, seed: 5 })).not.toEqual(interval);
  const error = Math.sqrt(x.reduce((t, v) => t + (v - interval.mean) ** 2, 0)) / x.length;
  expect(interval.bootstrap_se / error).toBeCloseTo(1, 1);
  expect(interval.percentile_ci[0]).toBeLessThan(interval.mean - 1.5 * error);
  expect(interval.percentile_ci[1]).toBeGreaterThan(interval.mean + 1.5 * error);
});
