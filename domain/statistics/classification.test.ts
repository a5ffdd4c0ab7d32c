import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  averagePrecision,
  brierScore,
  calibrationSlope,
  expectedCalibrationError,
  logLoss,
  rocAuc,
  rocAucVariance,
  thresholdMetrics,
} from './classification.ts';
import { StatisticError, type StatisticErrorCode } from './statistic-error.ts';

interface Rows {
  readonly y: number[];
  readonly score: number[];
  readonly weight: number[];
}

/** Rows of both classes with tied scores in [0, 1] and some weights of 0. */
function someRows(minEach = 1): fc.Arbitrary<Rows> {
  const row = (label: number): fc.Arbitrary<[number, number, number]> =>
    fc.tuple(
      fc.constant(label),
      fc.integer({ min: 0, max: 20 }).map((k) => k / 20),
      fc.constantFrom(0.5, 1, 3),
    );
  const dropped = fc.tuple(fc.constantFrom(0, 1), fc.constant(0.3), fc.constant(0));
  return fc
    .tuple(
      fc.array(row(0), { minLength: minEach, maxLength: 25 }),
      fc.array(row(1), { minLength: minEach, maxLength: 25 }),
      fc.array(dropped, { maxLength: 3 }),
    )
    .map(([a, b, c]) => [...a, ...b, ...c])
    .chain((rows) => fc.shuffledSubarray(rows, { minLength: rows.length }))
    .map((rows) => ({ y: rows.map((r) => r[0]), score: rows.map((r) => r[1]), weight: rows.map((r) => r[2]) }));
}

function pairwiseAuc({ y, score, weight }: Rows): number {
  let wins = 0;
  let pairs = 0;
  for (let i = 0; i < y.length; i++) {
    for (let j = 0; j < y.length; j++) {
      if (y[i] !== 1 || y[j] !== 0) continue;
      const w = weight[i]! * weight[j]!;
      pairs += w;
      wins += w * (score[i]! > score[j]! ? 1 : score[i] === score[j] ? 0.5 : 0);
    }
  }
  return wins / pairs;
}

function codeOf(act: () => unknown): StatisticErrorCode | 'no error' {
  try {
    act();
    return 'no error';
  } catch (error) {
    if (error instanceof StatisticError) return error.code;
    throw error;
  }
}

test('AUC equals the definition over all pairs, with and without weights', () => {
  fc.assert(
    fc.property(someRows(), (rows) => {
      expect(rocAuc(rows.y, rows.score, rows.weight)).toBeCloseTo(pairwiseAuc(rows), 12);
      const unweighted = { ...rows, weight: rows.y.map(() => 1) };
      expect(rocAuc(rows.y, rows.score)).toBeCloseTo(pairwiseAuc(unweighted), 12);
    }),
  );
});

test('AUC does not change under a monotone map of the scores, and flips with the labels', () => {
  fc.assert(
    fc.property(someRows(), ({ y, score }) => {
      const auc = rocAuc(y, score);
      expect(
        rocAuc(
          y,
          score.map((s) => Math.exp(3 * s) - 7),
        ),
      ).toBe(auc);
      expect(
        rocAuc(
          y.map((label) => 1 - label),
          score,
        ),
      ).toBeCloseTo(1 - auc, 12);
    }),
  );
});

test('a row of weight 0 does not exist, whatever it holds; a weight of 2 is the row twice', () => {
  const y = [0, 1, 1, 0];
  const score = [0.2, 0.3, 0.9, 0.4];
  expect(rocAuc([...y, 1], [...score, NaN], [1, 1, 1, 1, 0])).toBe(rocAuc(y, score));
  expect(rocAuc(y, score, [1, 1, 2, 1])).toBeCloseTo(rocAuc([...y, 1], [...score, 0.9]), 15);
  expect(averagePrecision(y, score, [1, 1, 2, 1])).toBeCloseTo(averagePrecision([...y, 1], [...score, 0.9]), 15);
});

test('known values', () => {
  const y = [0, 1, 1, 0];
  const p = [0.1, 0.4, 0.35, 0.8];
  expect(rocAuc(y, p)).toBe(0.5);
  expect(averagePrecision(y, p)).toBeCloseTo(0.5833333333333333, 12); // sklearn 1.9
  expect(logLoss(y, p)).toBeCloseTo(0.9202278211161898, 12); // sklearn 1.9
  expect(brierScore(y, p)).toBeCloseTo(0.358125, 12);
  expect(logLoss([1, 0, 1], [0, 1, 0.5])).toBeCloseTo(23.257166522603836, 9);
});

test('the DeLong variance comes with the same AUC', () => {
  fc.assert(
    fc.property(someRows(2), ({ y, score }) => {
      const { auc, variance } = rocAucVariance(y, score);
      expect(auc).toBeCloseTo(rocAuc(y, score), 12);
      expect(variance).toBeGreaterThanOrEqual(0);
    }),
  );
});

test('calibration bins hold every row once, and ece lies between 0 and mce', () => {
  fc.assert(
    fc.property(
      someRows(),
      fc.integer({ min: 1, max: 30 }),
      fc.constantFrom('equal_width', 'equal_mass'),
      (rows, bins, strategy) => {
        const result = expectedCalibrationError(rows.y, rows.score, { bins, strategy });
        expect(result.bins.reduce((n, bin) => n + bin[1], 0)).toBe(rows.y.length);
        expect(result.ece).toBeGreaterThanOrEqual(0);
        expect(result.ece).toBeLessThanOrEqual(result.mce + 1e-12);
      },
    ),
  );
});

test('equal-width bins are cut in IEEE doubles: .29 of 100 bins falls in 28', () => {
  const { bins } = expectedCalibrationError([1, 0, 1], [0.29, 0.57, 0.58], { bins: 100, strategy: 'equal_width' });
  expect(bins.map((bin) => bin[0])).toEqual([28, 56, 57]);
});

test('a threshold table gives null for 0/0', () => {
  expect(thresholdMetrics([0, 0], [0.1, 0.2], { threshold: 0.5 })).toEqual({
    tp: 0,
    fp: 0,
    fn: 0,
    tn: 2,
    precision: null,
    recall: null,
    f_beta: null,
    specificity: 1,
    accuracy: 1,
    mcc: null,
  });
});

test('the fitted calibration line solves the score equations', () => {
  const y: number[] = [];
  const p: number[] = [];
  for (let i = 0; i < 400; i++) {
    p.push(0.02 + (0.96 * ((i * 37) % 400)) / 400);
    y.push((i * 61) % 100 < 100 * p[i]! ** 1.4 ? 1 : 0);
  }
  const { slope, intercept, intercept_at_slope_1: large } = calibrationSlope(y, p);
  const logit = p.map((value) => Math.log(value / (1 - value)));
  const residual = (a: number, b: number): number[] =>
    y.map((label, i) => label - 1 / (1 + Math.exp(-(a + b * logit[i]!))));
  const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
  expect(total(residual(intercept, slope))).toBeCloseTo(0, 9);
  expect(total(residual(intercept, slope).map((r, i) => r * logit[i]!))).toBeCloseTo(0, 9);
  expect(total(residual(large, 1))).toBeCloseTo(0, 9);
});

test('what has no value fails with its code, in the common order of checks', () => {
  expect(codeOf(() => rocAuc([0, NaN], [1]))).toBe('length_mismatch');
  expect(codeOf(() => logLoss([], [], { eps: -1 }))).toBe('invalid_parameter');
  expect(codeOf(() => rocAuc([], []))).toBe('empty');
  expect(codeOf(() => rocAuc([0, 1], [1, 2], [0, 0]))).toBe('empty');
  expect(codeOf(() => rocAuc([0, 2], [1, Infinity]))).toBe('non_finite');
  expect(codeOf(() => rocAuc([0, 2], [1, 2]))).toBe('invalid_label');
  expect(codeOf(() => rocAuc([0, 1], [1, 2], [1, -1]))).toBe('invalid_weight');
  expect(codeOf(() => rocAuc([0, 1], [1, 2], [1, NaN]))).toBe('invalid_weight');
  expect(codeOf(() => brierScore([0, 1], [0, 1.2]))).toBe('out_of_range');
  expect(codeOf(() => rocAuc([1, 1], [1, 2]))).toBe('single_class');
  expect(codeOf(() => averagePrecision([0, 0], [1, 2]))).toBe('no_positives');
  expect(codeOf(() => calibrationSlope([0, 1, 1, 0], [0.3, 0.3, 0.3, 0.3]))).toBe('zero_variance');
  expect(codeOf(() => calibrationSlope([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.9]))).toBe('separation');
});
