import { type Numbers, checkAnyRow, checkFinite, checkLengths, checkWeights } from './input-checks.ts';

export interface RegressionMetrics {
  readonly rmse: number;
  readonly mae: number;
  /** Σ |e/y| as a fraction; null if any y is 0 */
  readonly mape: number | null;
  /** null if y is constant */
  readonly r2: number | null;
  /** mean of prediction − y */
  readonly bias: number;
  /** not weighted */
  readonly max_error: number;
  readonly pinball_10: number;
  readonly pinball_50: number;
  readonly pinball_90: number;
}

/**
 * Errors of a regression in one pass each; means are weighted, r2 uses the weighted mean of y. Rows of weight 0 do not exist.
 * Pinball loss at q: mean of q·max(y − p, 0) + (1 − q)·max(p − y, 0).
 */
export function regressionMetrics(y: Numbers, prediction: Numbers, weight?: Numbers): RegressionMetrics {
  checkLengths(y, prediction, weight);
  checkAnyRow(y, weight);
  checkFinite(y, 'y', weight);
  checkFinite(prediction, 'prediction', weight);
  checkWeights(weight);

  let weightSum = 0;
  let squares = 0;
  let absolutes = 0;
  let percentages = 0;
  let errors = 0;
  let largest = 0;
  let under = 0;
  let over = 0;
  let targets = 0;
  let lowest = Infinity;
  let highest = -Infinity;
  let anyZero = false;
  for (let i = 0; i < y.length; i++) {
    const w = weight === undefined ? 1 : weight[i]!;
    if (w === 0) continue;
    const target = y[i]!;
    const error = prediction[i]! - target;
    const size = Math.abs(error);
    weightSum += w;
    squares += w * error * error;
    absolutes += w * size;
    errors += w * error;
    largest = Math.max(largest, size);
    if (error > 0) over += w * size;
    else under += w * size;
    if (target === 0) anyZero = true;
    else percentages += w * Math.abs(error / target);
    targets += w * target;
    lowest = Math.min(lowest, target);
    highest = Math.max(highest, target);
  }
  return {
    rmse: Math.sqrt(squares / weightSum),
    mae: absolutes / weightSum,
    mape: anyZero ? null : percentages / weightSum,
    r2: lowest === highest ? null : 1 - squares / squaresAround(y, targets / weightSum, weight),
    bias: errors / weightSum,
    max_error: largest,
    pinball_10: (0.1 * under + 0.9 * over) / weightSum,
    pinball_50: (0.5 * under + 0.5 * over) / weightSum,
    pinball_90: (0.9 * under + 0.1 * over) / weightSum,
  };
}

function squaresAround(y: Numbers, centre: number, weight: Numbers | undefined): number {
  let total = 0;
  for (let i = 0; i < y.length; i++) {
    const w = weight === undefined ? 1 : weight[i]!;
    if (w !== 0) total += w * (y[i]! - centre) ** 2;
  }
  return total;
}
