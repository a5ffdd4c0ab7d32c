import type { LiveScores } from '../db/outcomes.ts';
import type { Estimate } from '../domain/training/evaluation-report.ts';
import { ascendingOrder } from '../domain/statistics/order.ts';

/** 97.5 % point of the normal distribution: two-sided 95 % intervals. */
const Z = 1.959963984540054;
/** Scores are kept this far from 0 and 1 so that the logarithm exists; scikit-learn clips by the float's own epsilon. */
const LOG_FLOOR = 1e-15;

export interface LiveQuality {
  readonly labelled: number;
  readonly positives: number;
  /** Null where it is not defined: no rows, or for the AUC only one class. */
  readonly auc: Estimate | null;
  readonly logLoss: Estimate | null;
  readonly brier: Estimate | null;
}

/**
 * Quality of live answers whose outcome is known. Each row stands for `weight` answers (the log holds a sample of the
 * champion's), so means are weighted and their variances are those of weighted means:
 *
 *   var(Σ wᵢ xᵢ / Σ wᵢ) ≈ Σ wᵢ² (xᵢ − x̄)² / (Σ wᵢ)²        (linearisation; Särndal et al., Model Assisted Survey Sampling, 5.5)
 *
 * Intervals are normal, 95 %, cut to the range of the metric.
 */
export function liveQuality({ score, outcome, weight }: LiveScores): LiveQuality {
  const positives = outcome.reduce((sum, y) => sum + y, 0);
  const brier = score.map((p, i) => (p - outcome[i]!) ** 2);
  const logLoss = score.map((p, i) => {
    const clipped = Math.min(Math.max(p, LOG_FLOOR), 1 - LOG_FLOOR);
    return -Math.log(outcome[i] === 1 ? clipped : 1 - clipped);
  });
  return {
    labelled: score.length,
    positives,
    auc: liveAuc({ score, outcome, weight }),
    logLoss: estimateOf(meanOf(logLoss, weight), Infinity),
    brier: estimateOf(meanOf(brier, weight), 1),
  };
}

interface Mean {
  readonly value: number;
  readonly variance: number;
}

function meanOf(values: ArrayLike<number>, weight: ArrayLike<number>): Mean | null {
  let total = 0;
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    total += weight[i]!;
    sum += weight[i]! * values[i]!;
  }
  if (total <= 0) return null;
  const value = sum / total;
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (weight[i]! * (values[i]! - value)) ** 2;
  return { value, variance: squares / total ** 2 };
}

/**
 * The weighted area under the ROC curve by placements, with DeLong's variance (DeLong et al. 1988) for weighted rows: the
 * placement of a positive is the weighted share of negatives below it (ties count half), and the other way round for a
 * negative; the area is the mean of either, and its variance the sum of the variances of the two means.
 */
function liveAuc({ score, outcome, weight }: LiveScores): Estimate | null {
  const total = [0, 0];
  for (let i = 0; i < score.length; i++) total[outcome[i]!]! += weight[i]!;
  if (total[0]! <= 0 || total[1]! <= 0) return null;
  const order = ascendingOrder(score);
  const placement = new Float64Array(score.length);
  const below = [0, 0];
  for (let from = 0; from < order.length;) {
    const tied = [0, 0];
    let to = from;
    while (to < order.length && score[order[to]!] === score[order[from]!]) {
      const row = order[to]!;
      tied[outcome[row]!]! += weight[row]!;
      to++;
    }
    for (let k = from; k < to; k++) {
      const row = order[k]!;
      const other = 1 - outcome[row]!;
      const share = (below[other]! + tied[other]! / 2) / total[other]!;
      placement[row] = other === 0 ? share : 1 - share;
    }
    below[0]! += tied[0]!;
    below[1]! += tied[1]!;
    from = to;
  }
  const ofClass = (y: number): Mean | null => {
    const only = (_: number, i: number) => outcome[i] === y;
    return meanOf(placement.filter(only), weight.filter(only));
  };
  const [negatives, positives] = [ofClass(0), ofClass(1)];
  if (negatives === null || positives === null) return null;
  return estimateOf({ value: positives.value, variance: negatives.variance + positives.variance }, 1);
}

function estimateOf(mean: Mean | null, most: number): Estimate | null {
  if (mean === null) return null;
  const standardError = Math.sqrt(mean.variance);
  const half = Z * standardError;
  return {
    value: mean.value,
    low: Math.max(0, mean.value - half),
    high: Math.min(most, mean.value + half),
    standardError,
  };
}
