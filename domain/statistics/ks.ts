import { type Numbers, checkFinite, checkNotEmpty } from './input-checks.ts';
import { kolmogorovUpper } from './special-functions.ts';

export interface KsResult {
  readonly d: number;
  /** exact for a continuous null, conservative with ties; null where n·m is beyond EXACT_CELLS */
  readonly p_exact: number | null;
  /** Kolmogorov's limit law at d·√(nm/(n+m)) */
  readonly p_asymptotic: number;
}

/** The exact law visits n·m lattice cells: this many take about a second. */
const EXACT_CELLS = 100_000_000;

/**
 * Two-sample Kolmogorov–Smirnov test, d = max |F − G|, two-sided.
 *
 * Source of the exact law: Hodges, "The significance probability of the Smirnov two-sample test" (1958), as the probability
 * that a random lattice path leaves the band, so that small p-values keep their digits.
 */
export function ks2samp(a: Numbers, b: Numbers): KsResult {
  checkNotEmpty(a, 'a');
  checkNotEmpty(b, 'b');
  checkFinite(a, 'a');
  checkFinite(b, 'b');
  const n = a.length;
  const m = b.length;
  const distance = latticeDistance(Float64Array.from(a).sort(), Float64Array.from(b).sort());
  const d = distance / (n * m);
  return {
    d,
    p_exact: n * m <= EXACT_CELLS ? pathLeavesBand(n, m, distance) : null,
    p_asymptotic: kolmogorovUpper(d * Math.sqrt((n * m) / (n + m))),
  };
}

/** max |i·m − j·n| over the merged samples, an integer: d·n·m. */
function latticeDistance(a: Float64Array, b: Float64Array): number {
  const n = a.length;
  const m = b.length;
  let i = 0;
  let j = 0;
  let farthest = 0;
  while (i < n && j < m) {
    const value = Math.min(a[i]!, b[j]!);
    while (i < n && a[i]! === value) i++;
    while (j < m && b[j]! === value) j++;
    farthest = Math.max(farthest, Math.abs(i * m - j * n));
  }
  return farthest;
}

/** Probability that |i·m − j·n| reaches `distance` somewhere on a uniformly random path from (0, 0) to (n, m). */
function pathLeavesBand(n: number, m: number, distance: number): number {
  const left = new Float64Array(m + 1);
  for (let i = 0; i <= n; i++) {
    for (let j = 0; j <= m; j++) {
      if (Math.abs(i * m - j * n) >= distance) left[j] = 1;
      else if (i + j === 0) left[j] = 0;
      else {
        const fromI = i === 0 ? 0 : left[j]! * i;
        const fromJ = j === 0 ? 0 : left[j - 1]! * j;
        left[j] = (fromI + fromJ) / (i + j);
      }
    }
  }
  return left[m]!;
}
