/** Measures of a classifier's scores: labels y in {0, 1}, optional weights of at least 0; rows of weight 0 do not exist. */
import { type Numbers, checkLabelsAndScores, checkLengths, checkParameter } from './input-checks.ts';

export { averagePrecision, rocAuc } from './roc.ts';
export { rocAucVariance } from './delong.ts';
export { calibrationSlope, expectedCalibrationError } from './calibration.ts';

/**
 * Mean negative log-likelihood, natural log; p is clipped to [eps, 1 − eps]. One class is allowed.
 * @param options.eps default 1e-15
 */
export function logLoss(
  y: Numbers,
  p: Numbers,
  { eps = 1e-15, weight }: { readonly eps?: number; readonly weight?: Numbers | undefined } = {},
): number {
  checkLengths(y, p, weight);
  checkParameter(eps >= 0 && eps < 0.5, `eps must lie in [0, 0.5), got ${eps}`);
  checkLabelsAndScores(y, p, weight, 'p');
  const most = 1 - eps;
  let total = 0;
  let weightSum = 0;
  for (let i = 0; i < y.length; i++) {
    const w = weight === undefined ? 1 : weight[i]!;
    if (w === 0) continue;
    const value = p[i]!;
    const clipped = value < eps ? eps : value > most ? most : value;
    total -= w * (y[i] === 1 ? Math.log(clipped) : Math.log1p(-clipped));
    weightSum += w;
  }
  return total / weightSum;
}

/** Weighted mean of (p − y)². */
export function brierScore(y: Numbers, p: Numbers, weight?: Numbers): number {
  checkLabelsAndScores(y, p, weight, 'p');
  let total = 0;
  let weightSum = 0;
  for (let i = 0; i < y.length; i++) {
    const w = weight === undefined ? 1 : weight[i]!;
    if (w === 0) continue;
    const error = p[i]! - y[i]!;
    total += w * error * error;
    weightSum += w;
  }
  return total / weightSum;
}

export interface ThresholdMetrics {
  readonly tp: number;
  readonly fp: number;
  readonly fn: number;
  readonly tn: number;
  readonly precision: number | null;
  readonly recall: number | null;
  readonly f_beta: number | null;
  readonly specificity: number | null;
  readonly accuracy: number;
  readonly mcc: number | null;
}

/** The confusion table at a threshold (positive iff score ≥ threshold) and its ratios; a 0/0 is null. */
export function thresholdMetrics(
  y: Numbers,
  score: Numbers,
  { threshold, beta = 1, weight }: { threshold: number; beta?: number; weight?: Numbers | undefined },
): ThresholdMetrics {
  checkLengths(y, score, weight);
  checkParameter(Number.isFinite(threshold), `threshold must be a number, got ${threshold}`);
  checkParameter(beta > 0 && Number.isFinite(beta), `beta must be a positive number, got ${beta}`);
  checkLabelsAndScores(y, score, weight);
  let tp = 0;
  let fp = 0;
  let fn = 0;
  let tn = 0;
  for (let i = 0; i < y.length; i++) {
    const w = weight === undefined ? 1 : weight[i]!;
    if (w === 0) continue;
    if (score[i]! >= threshold) {
      if (y[i] === 1) tp += w;
      else fp += w;
    } else if (y[i] === 1) fn += w;
    else tn += w;
  }
  const beta2 = beta * beta;
  const product = Math.sqrt(tp + fp) * Math.sqrt(tp + fn) * Math.sqrt(tn + fp) * Math.sqrt(tn + fn);
  return {
    tp,
    fp,
    fn,
    tn,
    precision: ratio(tp, tp + fp),
    recall: ratio(tp, tp + fn),
    f_beta: ratio((1 + beta2) * tp, tp + fp + fn === 0 ? 0 : (1 + beta2) * tp + beta2 * fn + fp),
    specificity: ratio(tn, tn + fp),
    accuracy: (tp + tn) / (tp + fp + fn + tn),
    mcc: ratio(tp * tn - fp * fn, product),
  };
}

function ratio(part: number, whole: number): number | null {
  return whole === 0 ? null : part / whole;
}
