import type { Scorer } from '../model/scorer.ts';
import type { FeatureMatrix } from './feature-batch.ts';

export type RowScore = number | Error;

/**
 * One score, or the reason why there is none, per row. A batch that fails as a whole is asked again row by row, so that a
 * poisoned row fails alone.
 * @param keepNaN a NaN is an answer (a client's own tensors), not a failure
 */
export async function scoreRows(
  scorer: Scorer,
  features: Float64Array,
  rows: number,
  { keepNaN = false }: { keepNaN?: boolean } = {},
): Promise<readonly RowScore[]> {
  try {
    const scores = await scorer.score(features, rows);
    return Array.from(scores, (score) =>
      keepNaN || Number.isFinite(score) ? score : new Error(`the score is ${score}`),
    );
  } catch (error) {
    if (rows === 1) return [error instanceof Error ? error : new Error(String(error))];
  }
  const width = scorer.featureCount;
  const scores: RowScore[] = [];
  for (let i = 0; i < rows; i++) {
    const [score] = await scoreRows(scorer, features.slice(i * width, (i + 1) * width), 1, { keepNaN });
    scores.push(score!);
  }
  return scores;
}

/** As `scoreRows`, for rows of which some may have no features. */
export async function scoreMatrix(
  scorer: Scorer,
  { values, failures }: FeatureMatrix,
  rows: number,
): Promise<readonly RowScore[]> {
  if (failures.size === 0) return scoreRows(scorer, values, rows);
  const width = scorer.featureCount;
  const readable = Array.from({ length: rows }, (_, i) => i).filter((i) => !failures.has(i));
  const features = new Float64Array(readable.length * width);
  readable.forEach((row, i) => features.set(values.subarray(row * width, (row + 1) * width), i * width));
  const scores = readable.length === 0 ? [] : await scoreRows(scorer, features, readable.length);
  const byRow = new Map(readable.map((row, i) => [row, scores[i]!]));
  return Array.from({ length: rows }, (_, i) => byRow.get(i) ?? new Error(failures.get(i)));
}
