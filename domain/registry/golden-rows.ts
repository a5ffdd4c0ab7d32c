/**
 * Rows with known answers that go with a version: a server that gives others for them has another model, or computes it
 * wrongly, and does not take the version into service.
 */
export interface GoldenRows {
  /** In the order of the version's features, float32; null is a missing value (NaN). */
  readonly features: readonly (readonly (number | null)[])[];
  /** What the version answered when it was evaluated, before any post-processing; null is no finite number. */
  readonly scores: readonly (number | null)[];
}

/** Values a manifest may hold for golden rows, features times rows. */
const MAX_VALUES = 8_192;
const MAX_ROWS = 16;
/** One row in four has values missing. */
const MISSING_EVERY = 4;

/**
 * Puts rows together from the values of different rows, so that none of them is anybody's: column by column another row.
 * What is not finite becomes missing. Every fourth row lacks the value of some columns. The same matrix gives the same rows.
 * @param x rows × width, row-major, float32  @returns rows × width of at most 16 rows; none for an empty matrix
 */
export function mixRows(x: Float32Array, rows: number, width: number): { features: Float32Array; rows: number } {
  const count = rows === 0 || width === 0 ? 0 : Math.max(1, Math.min(MAX_ROWS, Math.floor(MAX_VALUES / width)));
  const features = new Float32Array(count * width);
  let seed = 1;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (seed >>> 8) % below;
  };
  for (let row = 0; row < count; row++) {
    const lacks = row % MISSING_EVERY === MISSING_EVERY - 1;
    const lacking = lacks ? random(width) : -1;
    for (let column = 0; column < width; column++) {
      const value = x[random(rows) * width + column]!;
      const missing = column === lacking || (lacks && random(MISSING_EVERY) === 0) || !Number.isFinite(value);
      features[row * width + column] = missing ? NaN : value;
    }
  }
  return { features, rows: count };
}

/** @param features rows × width @param scores one a row */
export function goldenRows(features: Float32Array, scores: Float32Array): GoldenRows {
  const width = scores.length === 0 ? 0 : features.length / scores.length;
  return {
    features: Array.from(scores, (_, row) =>
      Array.from(features.subarray(row * width, (row + 1) * width), nullUnlessFinite),
    ),
    scores: Array.from(scores, nullUnlessFinite),
  };
}

/** Largest difference of an answer, relative to the known one. */
const RELATIVE = 1e-5;
/** Answers nearer to 0 than this are compared as if they were this far away: a float32 sum has no relative accuracy there. */
const LEAST_SCALE = 1e-2;

/** Whether an answer is the known one, within 1e-5 of it. What is no finite number agrees with what is none: JSON keeps no more. */
export function agreesWithGolden(given: number, known: number): boolean {
  if (!Number.isFinite(known)) return !Number.isFinite(given);
  return Math.abs(given - known) <= RELATIVE * Math.max(Math.abs(known), LEAST_SCALE);
}

function nullUnlessFinite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
