/**
 * score = sigmoid(intercept + Σ weightᵢ · clip((xᵢ − meanᵢ) / scaleᵢ)), with a missing xᵢ replaced by meanᵢ.
 * All parameters are single precision, as in the exported file.
 */
export interface LogisticModel {
  readonly kind: 'logistic';
  readonly columns: readonly string[];
  readonly mean: Float32Array;
  readonly scale: Float32Array;
  readonly weight: Float32Array;
  readonly intercept: number;
}

/**
 * Standardised values are cut off here, so that an infinite or absurd input moves a score by a bounded amount (and an
 * infinite one times a zero weight is not NaN). Ten standard deviations leave any sane column untouched.
 */
export const STANDARD_LIMIT = 10;

/** Scores of class 1 in [0, 1] for row-major rows; in single precision, step by step as the exported graph computes. */
export function scoreLogistic(
  { mean, scale, weight, intercept, columns }: LogisticModel,
  x: Float32Array,
): Float32Array {
  const width = columns.length;
  const scores = new Float32Array(x.length / width);
  for (let row = 0, at = 0; row < scores.length; row++) {
    let logit = 0;
    for (let column = 0; column < width; column++, at++) {
      const z = standardised(x[at]!, mean[column]!, scale[column]!);
      logit = Math.fround(logit + Math.fround(Math.fround(z) * weight[column]!));
    }
    scores[row] = 1 / (1 + Math.exp(-Math.fround(logit + intercept)));
  }
  return scores;
}

export function standardised(value: number, mean: number, scale: number): number {
  const z = Math.fround(Math.fround(value - mean) / scale);
  if (z > STANDARD_LIMIT) return STANDARD_LIMIT;
  if (z < -STANDARD_LIMIT) return -STANDARD_LIMIT;
  return Number.isNaN(z) ? 0 : z;
}
