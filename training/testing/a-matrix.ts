import type { TrainingMatrix } from '../matrix.ts';

/** Numbers in [0, 1) from a seed (mulberry32), for test data. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface MatrixOptions {
  readonly rows?: number;
  readonly seed?: number;
  /** Share of missing values in every column but the constant one. */
  readonly missing?: number;
}

/**
 * Test rows in time order: a linear column, one that matters through a step and through being missing, one with few
 * values, one of noise, one constant.
 */
export function aMatrix({ rows = 3000, seed = 1, missing = 0.1 }: MatrixOptions = {}): TrainingMatrix {
  const columns = ['linear', 'stepped', 'weekday', 'noise', 'constant'];
  const random = randomNumbers(seed);
  const matrix = {
    rows,
    columns,
    x: new Float32Array(rows * columns.length),
    y: new Uint8Array(rows),
    rowIds: Float64Array.from({ length: rows }, (_, row) => row),
    asOf: Float64Array.from({ length: rows }, (_, row) => row * 60_000_000),
  };
  const orMissing = (value: number): number => (random() < missing ? Number.NaN : value);
  for (let row = 0; row < rows; row++) {
    const linear = orMissing(random() * 4 - 2);
    const stepped = orMissing(random() * 100);
    const weekday = orMissing(Math.floor(random() * 7));
    matrix.x.set([linear, stepped, weekday, orMissing(random()), 3.3], row * columns.length);
    const logit =
      (linear || 0) + (stepped > 60 ? 1.5 : 0) + (Number.isNaN(stepped) ? 2 : 0) - (weekday === 6 ? 1 : 0) - 1;
    matrix.y[row] = random() < 1 / (1 + Math.exp(-logit)) ? 1 : 0;
  }
  return matrix;
}
