import { type Numbers, checkFinite, checkNotEmpty } from './input-checks.ts';
import { normalCdf } from './special-functions.ts';

export interface MannWhitney {
  /** wins of b over a, ties ½ */
  readonly u_b: number;
  /** two-sided normal approximation, continuity ½, corrected for ties */
  readonly p_asymptotic_cc: number;
  /** two-sided; null with ties, or where n·m is beyond EXACT_PAIRS */
  readonly p_exact: number | null;
  /** common-language effect size, U/(nm) */
  readonly cles: number;
  /** median of all b_j − a_i */
  readonly hodges_lehmann: number;
}

/** The exact law costs up to n²m²/4 additions: 20,000 pairs took 0.8 s on a busy core. */
const EXACT_PAIRS = 20_000;

/** Up to here all differences are sorted; beyond, their median is found by counting. */
const LISTED_PAIRS = 2_000_000;

/** Mann–Whitney U test of b against a, with the Hodges–Lehmann shift. */
export function mannWhitney(a: Numbers, b: Numbers): MannWhitney {
  checkNotEmpty(a, 'a');
  checkNotEmpty(b, 'b');
  checkFinite(a, 'a');
  checkFinite(b, 'b');
  const sortedA = Float64Array.from(a, (value) => value + 0).sort();
  const sortedB = Float64Array.from(b, (value) => value + 0).sort();
  const n = sortedA.length;
  const m = sortedB.length;
  const { twiceWins, tieTerm } = comparePairs(sortedA, sortedB);
  const u = twiceWins / 2;
  const larger = Math.max(u, n * m - u);
  const total = n + m;
  const variance = ((n * m) / 12) * (total + 1 - tieTerm / (total * (total - 1)));
  const z = (larger - (n * m) / 2 - 0.5) / Math.sqrt(variance);
  const exact = tieTerm === 0 && n * m <= EXACT_PAIRS;
  return {
    u_b: u,
    p_asymptotic_cc: variance > 0 ? Math.min(1, 2 * normalCdf(-z)) : 1,
    p_exact: exact ? Math.min(1, 2 * upperTail(n, m, larger)) : null,
    cles: u / (n * m),
    hodges_lehmann: medianDifference(sortedA, sortedB),
  };
}

/** Twice the wins of b (ties 1), and Σ t³ − t over groups of equal values in both samples. */
function comparePairs(a: Float64Array, b: Float64Array): { twiceWins: number; tieTerm: number } {
  let i = 0;
  let j = 0;
  let twiceWins = 0;
  let tieTerm = 0;
  while (i < a.length || j < b.length) {
    const value = Math.min(a[i] ?? Infinity, b[j] ?? Infinity);
    const below = i;
    let tied = 0;
    while (i < a.length && a[i] === value) {
      i++;
      tied++;
    }
    while (j < b.length && b[j] === value) {
      j++;
      tied++;
      twiceWins += below + i;
    }
    tieTerm += tied * tied * tied - tied;
  }
  return { twiceWins, tieTerm };
}

/**
 * P(U ≥ u) = P(U ≤ nm − u) without ties, by the recursion on which sample the largest value comes from:
 * law(n, m)[k] = n/(n+m)·law(n−1, m)[k−m] + m/(n+m)·law(n, m−1)[k]. Positive terms only, so the tail keeps its digits.
 */
function upperTail(n: number, m: number, u: number): number {
  const last = n * m - u;
  // laws[j] is law(i, j) up to `last`; at i = 0 and at j = 0 all mass is at 0
  const laws = Array.from({ length: m + 1 }, () =>
    Float64Array.from({ length: last + 1 }, (_, k) => (k === 0 ? 1 : 0)),
  );
  for (let i = 1; i <= n; i++) {
    for (let j = 1; j <= m; j++) {
      const law = laws[j]!;
      const beside = laws[j - 1]!;
      const fromAbove = i / (i + j);
      const fromBeside = j / (i + j);
      // downwards, so that law[k − j] still belongs to i − 1
      for (let k = Math.min(last, i * j); k >= j; k--) law[k] = fromAbove * law[k - j]! + fromBeside * beside[k]!;
      for (let k = Math.min(last, j - 1); k >= 0; k--) law[k] = fromBeside * beside[k]!;
    }
  }
  let total = 0;
  for (const mass of laws[m]!) total += mass;
  return total;
}

function medianDifference(a: Float64Array, b: Float64Array): number {
  const pairs = a.length * b.length;
  const lower = Math.floor((pairs - 1) / 2);
  const upper = Math.floor(pairs / 2);
  if (pairs > LISTED_PAIRS) {
    const low = differenceOfRank(a, b, lower);
    return lower === upper ? low : (low + differenceOfRank(a, b, upper)) / 2;
  }
  const differences = new Float64Array(pairs);
  let at = 0;
  for (let i = 0; i < a.length; i++) for (let j = 0; j < b.length; j++) differences[at++] = b[j]! - a[i]!;
  differences.sort();
  return (differences[lower]! + differences[upper]!) / 2;
}

/** The difference of 0-based rank `rank`, by bisection on how many differences are not above a value. */
function differenceOfRank(a: Float64Array, b: Float64Array, rank: number): number {
  let low = b[0]! - a[a.length - 1]!;
  let high = b[b.length - 1]! - a[0]!;
  if (countNotAbove(a, b, low) > rank) return low;
  for (let step = 0; step < 200; step++) {
    const middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) break;
    if (countNotAbove(a, b, middle) > rank) high = middle;
    else low = middle;
  }
  return high;
}

function countNotAbove(a: Float64Array, b: Float64Array, limit: number): number {
  let count = 0;
  let j = 0;
  for (let i = 0; i < a.length; i++) {
    while (j < b.length && b[j]! - a[i]! <= limit) j++;
    count += j;
  }
  return count;
}
