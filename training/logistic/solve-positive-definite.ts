/** Smallest pivot, relative to its diagonal: below it the direction is flat and is not moved along. */
const FLAT = 1e-14;

/**
 * Solves A·s = b by Cholesky's factorisation.
 * @param a n × n, row-major, symmetric positive (semi-)definite; only the lower triangle is read
 * @returns s, with 0 along directions in which A is numerically singular
 */
export function solvePositiveDefinite(a: Float64Array, b: Float64Array): Float64Array {
  const n = b.length;
  const factor = Float64Array.from(a);
  for (let column = 0; column < n; column++) {
    let pivot = a[column * n + column]!;
    const floor = pivot * FLAT;
    for (let k = 0; k < column; k++) pivot -= factor[column * n + k]! ** 2;
    const root = pivot > floor ? Math.sqrt(pivot) : Number.POSITIVE_INFINITY;
    factor[column * n + column] = root;
    for (let row = column + 1; row < n; row++) {
      let sum = a[row * n + column]!;
      for (let k = 0; k < column; k++) sum -= factor[row * n + k]! * factor[column * n + k]!;
      factor[row * n + column] = sum / root;
    }
  }
  const solution = Float64Array.from(b);
  for (let row = 0; row < n; row++) {
    for (let k = 0; k < row; k++) solution[row]! -= factor[row * n + k]! * solution[k]!;
    solution[row]! /= factor[row * n + row]!;
  }
  for (let row = n - 1; row >= 0; row--) {
    for (let k = row + 1; k < n; k++) solution[row]! -= factor[k * n + row]! * solution[k]!;
    solution[row]! /= factor[row * n + row]!;
  }
  return solution;
}
