import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bettingCapital, bettingCs, empiricalBernstein } from './betting.ts';
import { msprt, msprtPairs } from './msprt.ts';

const unit = fc.integer({ min: 0, max: 100 }).map((k) => k / 100);

test('a fair game: the capital bet against the true rate is worth at most 1 on average', () => {
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 6 }), fc.double({ min: 0.01, max: 0.99, noNaN: true }), (past, rate) => {
      const before = past.reduce(bettingCapital.step, bettingCapital.initial([rate], { alpha: 0.05 }));
      const up = (x: number): number => Math.exp(bettingCapital.step(before, x).logUp[0]! - before.logUp[0]!);
      const down = (x: number): number => Math.exp(bettingCapital.step(before, x).logDown[0]! - before.logDown[0]!);
      expect(rate * up(1) + (1 - rate) * up(0)).toBeCloseTo(1, 9);
      expect(rate * down(1) + (1 - rate) * down(0)).toBeCloseTo(1, 9);
    }),
  );
});

test('the hedged sequence closes in on the mean and refuses the others', () => {
  const x = Array.from({ length: 400 }, (_, i) => ((i * 7) % 10) / 10);
  const { hedged_cs: intervals, log_capital: capital } = bettingCs(x, {
    alpha: 0.05,
    means: [0.1, 0.45],
    grid: 1000,
    reportAt: [20, 400],
  });
  const [early, late] = intervals as [[number, number], [number, number]];
  expect(late[0]).toBeLessThan(0.45);
  expect(late[1]).toBeGreaterThan(0.45);
  expect(late[1] - late[0]).toBeLessThan(early[1] - early[0]);
  expect(capital['0.1']![1]!).toBeGreaterThan(Math.log(1 / 0.05));
  expect(capital['0.45']![1]!).toBeLessThan(Math.log(1 / 0.05));
});

test('values outside [0, 1] are refused', () => {
  const start = bettingCapital.initial([0.5], { alpha: 0.05 });
  expect(() => bettingCapital.step(start, 1.2)).toThrowError(/\[0, 1\]/);
  expect(() => empiricalBernstein(start)).toThrowError(/at least one value/);
});

test('the always-valid p-value never rises, and falls for a real difference', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(unit, unit), { minLength: 1, maxLength: 60 }), (pairs) => {
      const reportAt = pairs.map((_, i) => i + 1);
      const { p_always_valid: p } = msprtPairs(
        pairs.map((r) => r[0]),
        pairs.map((r) => r[1]),
        { sigma2: 0.1, tau2: 0.01, reportAt },
      );
      for (let i = 0; i < p.length; i++) expect(p[i]!).toBeLessThanOrEqual(i === 0 ? 1 : p[i - 1]!);
    }),
  );
  let state = msprt.initial({ sigma2: 0.25, tau2: 0.01 });
  for (let t = 0; t < 400; t++) state = msprt.step(state, (t % 10) / 10, (t % 10) / 10 + 0.2);
  expect(state.p_always_valid).toBeLessThan(0.001);
});
