import type { Scorer } from '../model/scorer.ts';

export interface RowScores {
  /** One per row; NaN where the model gives NaN, and where it failed. */
  readonly scores: Float64Array;
  readonly errors: ReadonlyMap<number, Error>;
}

/** Until when rows are asked one by one. */
export interface Patience {
  readonly untilMs: number;
  readonly nowMs: () => number;
}

const NO_ERRORS: ReadonlyMap<number, Error> = new Map();

/**
 * Never rejects. A batch that fails as a whole is asked again row by row, so that a poisoned row fails alone; rows that are
 * not reached in time share the batch's error.
 */
export async function scoreRows(
  scorer: Scorer,
  features: Float64Array,
  rows: number,
  patience?: Patience,
): Promise<RowScores> {
  let failure: Error;
  try {
    return { scores: await scorer.score(features, rows), errors: NO_ERRORS };
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
  }
  const scores = new Float64Array(rows).fill(NaN);
  const errors = new Map<number, Error>();
  if (rows === 1) return { scores, errors: errors.set(0, failure) };
  const width = scorer.featureCount;
  for (let i = 0; i < rows; i++) {
    if (patience !== undefined && patience.nowMs() > patience.untilMs) {
      errors.set(i, failure);
      continue;
    }
    try {
      const [score = NaN] = await scorer.score(features.slice(i * width, (i + 1) * width), 1);
      scores[i] = score;
    } catch (error) {
      errors.set(i, error instanceof Error ? error : new Error(String(error)));
    }
  }
  return { scores, errors };
}

/** What `promise` gives, or null when that takes longer. The promise must not reject. */
export function within<T>(timeoutMs: number, promise: Promise<T>): Promise<T | null> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(null), timeoutMs);
    void promise.then((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}
