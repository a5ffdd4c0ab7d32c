/** What turns a model's score into a probability: fitted once on validation rows, kept in the version's manifest. */

export const CALIBRATION_METHODS = ['platt', 'isotonic', 'temperature'] as const;
export type CalibrationMethod = (typeof CALIBRATION_METHODS)[number];

/** `rows`: how many rows it was fitted on. */
export type Calibration =
  /** σ(slope · logit(score) + intercept); slope > 0. */
  | { readonly method: 'platt'; readonly slope: number; readonly intercept: number; readonly rows: number }
  /** The line through the points (scores[i], probabilities[i]), level beyond its ends; both ascend, scores strictly. */
  | {
      readonly method: 'isotonic';
      readonly scores: readonly number[];
      readonly probabilities: readonly number[];
      readonly rows: number;
    }
  /** σ(logit(score) / temperature); temperature > 0, above 1 for a model that was too sure. */
  | { readonly method: 'temperature'; readonly temperature: number; readonly rows: number };

/** What a score of 0 counts as. */
const LEAST_SCORE = 1e-12;
/** What a score of 1 counts as: a float32 below 1 cannot be nearer to it. */
const GREATEST_SCORE = 1 - 2 ** -25;

/**
 * The calibrated probability. It never falls when the score rises (scores being float32, as models give them), so that a
 * calibration changes no ranking but by ties.
 * @param score in [0, 1]; NaN gives NaN
 */
export function calibrate(calibration: Calibration, score: number): number {
  switch (calibration.method) {
    case 'platt':
      return sigmoid(calibration.slope * logit(score) + calibration.intercept);
    case 'temperature':
      return sigmoid(logit(score) / calibration.temperature);
    case 'isotonic':
      return interpolate(calibration.scores, calibration.probabilities, score);
  }
}

/** `platt, slope 0.39, intercept 0.16, fitted on 1440 rows` */
export function calibrationText(calibration: Calibration): string {
  return `${calibration.method}, ${parametersText(calibration)}, fitted on ${calibration.rows} rows`;
}

function parametersText(calibration: Calibration): string {
  switch (calibration.method) {
    case 'platt':
      return `slope ${calibration.slope.toFixed(2)}, intercept ${calibration.intercept.toFixed(2)}`;
    case 'temperature':
      return `T ${calibration.temperature.toFixed(2)}`;
    case 'isotonic':
      return `${calibration.scores.length} points`;
  }
}

/** ln(p / (1 − p)), finite also for 0 and 1. */
export function logit(score: number): number {
  const p = score < LEAST_SCORE ? LEAST_SCORE : score > GREATEST_SCORE ? GREATEST_SCORE : score;
  return Math.log(p) - Math.log1p(-p);
}

function sigmoid(z: number): number {
  return 1 / (1 + Math.exp(-z));
}

function interpolate(scores: readonly number[], probabilities: readonly number[], score: number): number {
  if (Number.isNaN(score)) return NaN;
  const last = scores.length - 1;
  if (score <= scores[0]!) return probabilities[0]!;
  if (score >= scores[last]!) return probabilities[last]!;
  let low = 0;
  let high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (scores[middle]! <= score) low = middle;
    else high = middle;
  }
  const [left, right] = [probabilities[low]!, probabilities[high]!];
  const share = (score - scores[low]!) / (scores[high]! - scores[low]!);
  // the rounded line may end a bit above its end
  return Math.min(right, left + (right - left) * share);
}
