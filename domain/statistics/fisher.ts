import { binomialMass } from './special-functions.ts';

/** Probabilities this close, relatively, are of equally likely tables that rounding has told apart. */
const SAME_LIKELIHOOD = 1e-10;

/** Fisher's exact test of [[a, b], [c, d]], two-sided: the total probability of the tables no likelier than this one. */
export function fisherTwoSided(a: number, b: number, c: number, d: number): number {
  const { low, masses } = firstCellLaw(a, b, c, d);
  const limit = masses[a - low]! * (1 + SAME_LIKELIHOOD);
  let total = 0;
  for (const mass of masses) if (mass <= limit) total += mass;
  return Math.min(1, total);
}

/** Fisher's exact test, one-sided: the probability of a first cell of at least `a`. */
export function fisherGreater(a: number, b: number, c: number, d: number): number {
  const { low, masses } = firstCellLaw(a, b, c, d);
  let total = 0;
  for (let i = masses.length - 1; i >= a - low; i--) total += masses[i]!;
  return Math.min(1, total);
}

/**
 * Hypergeometric law of the first cell given the margins: the mass at the mode by Loader's binomials, the others from it by
 * the ratio of neighbours.
 */
function firstCellLaw(a: number, b: number, c: number, d: number): { low: number; masses: Float64Array } {
  const row = a + b;
  const column = a + c;
  const other = b + d;
  const total = column + other;
  const low = Math.max(0, row - other);
  const high = Math.min(row, column);
  const masses = new Float64Array(high - low + 1);
  const mode = Math.min(high, Math.max(low, Math.floor(((row + 1) * (column + 1)) / (total + 2))));
  const share = total === 0 ? 0 : row / total;
  masses[mode - low] =
    low === high
      ? 1
      : (binomialMass(mode, column, share) * binomialMass(row - mode, other, share)) / binomialMass(row, total, share);
  for (let x = mode; x < high; x++) {
    masses[x + 1 - low] = (masses[x - low]! * (column - x) * (row - x)) / ((x + 1) * (other - row + x + 1));
  }
  for (let x = mode; x > low; x--) {
    masses[x - 1 - low] = (masses[x - low]! * x * (other - row + x)) / ((column - x + 1) * (row - x + 1));
  }
  return { low, masses };
}
