import type { Scorer } from '../model/scorer.ts';

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
): Promise<readonly (number | Error)[]> {
  try {
    const scores = await scorer.score(features, rows);
    return Array.from(scores, (score) =>
      keepNaN || Number.isFinite(score) ? score : new Error(`the score is ${score}`),
    );
  } catch (error) {
    if (rows === 1) return [error instanceof Error ? error : new Error(String(error))];
  }
  const width = scorer.featureCount;
  const scores: (number | Error)[] = [];
  for (let i = 0; i < rows; i++) {
    const [score] = await scoreRows(scorer, features.slice(i * width, (i + 1) * width), 1, { keepNaN });
    scores.push(score!);
  }
  return scores;
}
