import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  betaLower,
  betaQuantile,
  betaUpper,
  binomialCdf,
  binomialMass,
  chiSquareQuantile,
  chiSquareUpper,
  erfc,
  gammaLower,
  gammaUpper,
  kolmogorovUpper,
  logGamma,
  normalCdf,
  normalQuantile,
  normalTwoSided,
  studentCritical,
  studentTwoSided,
} from './special-functions.ts';

/** Relative: the functions keep their digits far out in the tails. */
function expectClose(got: number, want: number, relative = 1e-12): void {
  expect(Math.abs(got - want)).toBeLessThanOrEqual(relative * Math.abs(want));
}

// mpmath 1.4 at 40 digits
test('values agree with arbitrary-precision ones', () => {
  expectClose(logGamma(0.18), 1.6354606040857227);
  expectClose(logGamma(123.4), 469.3360974421906);
  expectClose(logGamma(1e9), 19723265827.503716);
  expectClose(erfc(-1.5), 1.9661051464753108);
  expectClose(erfc(0.1), 0.8875370839817152);
  expectClose(erfc(6), 2.1519736712498913e-17);
  expectClose(erfc(20), 5.395865611607901e-176, 1e-11);
  expectClose(normalQuantile(0.975), 1.9599639845400543);
  expectClose(gammaUpper(0.5, 30), 9.485737571073848e-15);
  expectClose(gammaUpper(1000, 1100), 0.0010593232539299773);
  expectClose(gammaLower(1000, 800), 5.5014197761792284e-12);
  expectClose(chiSquareUpper(42.5, 9), 2.6622532027509466e-6);
  expectClose(chiSquareQuantile(0.99, 9), 21.665994333461924);
  expectClose(betaLower(30, 7000, 0.001), 1.0598055956197754e-10);
  expectClose(betaLower(2.5, 0.5, 0.999), 0.9463423453081864);
  expectClose(studentTwoSided(8, 12.3), 3.206678307457707e-6);
  expectClose(studentTwoSided(1e-4, 5), 0.9999240786621874);
  expectClose(studentCritical(0.95, 3), 3.1824463052837095);
  expectClose(binomialMass(12, 4000, 0.003), 0.1145398471616633);
  expectClose(binomialCdf(90, 220, 0.5), 0.004202725876340978);
  expectClose(kolmogorovUpper(0.4), 0.9971923267772983);
  expectClose(kolmogorovUpper(3), 3.045995948942526e-8);
  expectClose(kolmogorovUpper(1), 0.2699996716773545);
});

test('both tails of gamma and beta add up to 1', () => {
  const size = fc.double({ min: 0.05, max: 5000, noNaN: true });
  fc.assert(
    fc.property(size, size, fc.double({ min: 0, max: 1, noNaN: true }), (a, b, x) => {
      expect(gammaLower(a, b) + gammaUpper(a, b)).toBeCloseTo(1, 12);
      expect(betaLower(a, b, x) + betaUpper(a, b, x)).toBeCloseTo(1, 12);
    }),
  );
});

test('quantiles invert their distributions', () => {
  const level = fc.double({ min: 1e-6, max: 1 - 1e-6, noNaN: true });
  const df = fc.double({ min: 1, max: 500, noNaN: true });
  fc.assert(
    fc.property(level, df, (p, k) => {
      expect(normalCdf(normalQuantile(p))).toBeCloseTo(p, 12);
      expect(1 - chiSquareUpper(chiSquareQuantile(p, k), k)).toBeCloseTo(p, 12);
      expect(1 - studentTwoSided(studentCritical(p, k), k)).toBeCloseTo(p, 9);
      expect(betaLower(k, 3, betaQuantile(p, k, 3))).toBeCloseTo(p, 12);
    }),
    { numRuns: 50 },
  );
});

test('binomial masses add up to the distribution function', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.double({ min: 0, max: 1, noNaN: true }), (n, p) => {
      let total = 0;
      for (let k = 0; k <= n; k++) {
        total += binomialMass(k, n, p);
        expect(binomialCdf(k, n, p)).toBeCloseTo(total, 12);
      }
      expect(total).toBeCloseTo(1, 12);
    }),
  );
});

test('the ends of the range are exact', () => {
  expect(normalQuantile(0)).toBe(-Infinity);
  expect(normalQuantile(1)).toBe(Infinity);
  expect(normalQuantile(0.5)).toBe(0);
  expect(normalTwoSided(0)).toBe(1);
  expect(chiSquareUpper(Infinity, 3)).toBe(0);
  expect(chiSquareUpper(0, 3)).toBe(1);
  expect(chiSquareUpper(1, 0)).toBe(0);
  expect(chiSquareQuantile(0.99, 0)).toBe(0);
  expect(kolmogorovUpper(0)).toBe(1);
  expect(binomialCdf(-1, 5, 0.5)).toBe(0);
  expect(binomialCdf(5, 5, 0.5)).toBe(1);
  expect(betaQuantile(0, 2, 3)).toBe(0);
  expect(betaQuantile(1, 2, 3)).toBe(1);
});
