import fc from 'fast-check';
import { expect, test } from 'vitest';
import { brierScore, logLoss, rocAuc, rocAucVariance } from '../domain/statistics/classification.ts';
import { liveQuality } from './live-quality.ts';

const rows = fc.array(
  fc.record({
    score: fc.integer({ min: 0, max: 20 }).map((k) => k / 20),
    outcome: fc.integer({ min: 0, max: 1 }),
    weight: fc.integer({ min: 1, max: 20 }),
  }),
  { minLength: 4, maxLength: 60 },
);
const columns = (each: readonly { score: number; outcome: number; weight: number }[]) => ({
  score: Float64Array.from(each, (row) => row.score),
  outcome: Uint8Array.from(each, (row) => row.outcome),
  weight: Float64Array.from(each, (row) => row.weight),
});
const hasBoth = (each: readonly { outcome: number }[]) => new Set(each.map(({ outcome }) => outcome)).size === 2;

test('the estimates are the weighted metrics, and lie inside their intervals', () => {
  fc.assert(
    fc.property(rows.filter(hasBoth), (each) => {
      const { score, outcome, weight } = columns(each);
      const { auc, logLoss: loss, brier } = liveQuality({ score, outcome, weight });
      expect(auc!.value).toBeCloseTo(rocAuc(outcome, score, weight), 10);
      expect(brier!.value).toBeCloseTo(brierScore(outcome, score, weight), 10);
      const inside = score.map((p) => Math.min(Math.max(p, 1e-15), 1 - 1e-15));
      expect(loss!.value).toBeCloseTo(logLoss(outcome, inside, { weight }), 8);
      for (const { value, low, high } of [auc!, loss!, brier!]) expect(low <= value && value <= high).toBe(true);
    }),
  );
});

test('with equal weights the variance of the area is that of DeLong, but for n instead of n − 1', () => {
  const n = 400;
  const score = Float64Array.from({ length: n }, (_, i) => ((i * 7919) % 1000) / 1000);
  const outcome = Uint8Array.from(score, (p, i) => (p + ((i * 104729) % 100) / 100 > 1 ? 1 : 0));
  const { auc } = liveQuality({ score, outcome, weight: new Float64Array(n).fill(3) });
  const delong = rocAucVariance(outcome, score);
  expect(auc!.value).toBeCloseTo(delong.auc, 12);
  expect(auc!.standardError / Math.sqrt(delong.variance)).toBeGreaterThan(0.99);
  expect(auc!.standardError / Math.sqrt(delong.variance)).toBeLessThanOrEqual(1);
});

test('nothing labelled gives no estimates, one class gives no area', () => {
  const none = new Float64Array(0);
  expect(liveQuality({ score: none, outcome: new Uint8Array(0), weight: none })).toEqual({
    labelled: 0,
    positives: 0,
    auc: null,
    logLoss: null,
    brier: null,
  });
  expect(liveQuality(columns([{ score: 0.5, outcome: 1, weight: 1 }])).auc).toBeNull();
});
