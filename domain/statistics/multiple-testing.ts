import { type Numbers, checkFinite, checkProbabilityParameter, checkUnitInterval } from './input-checks.ts';
import { ascendingOrder } from './order.ts';

export interface AdjustedPValues {
  /** Benjamini–Hochberg: false discovery rate, independent or positively dependent tests */
  readonly bh_adjusted: readonly number[];
  readonly bh_reject: readonly boolean[];
  /** Holm: family-wise error, any dependence */
  readonly holm_adjusted: readonly number[];
  readonly holm_reject: readonly boolean[];
  /** Benjamini–Yekutieli: false discovery rate, any dependence */
  readonly by_adjusted: readonly number[];
  readonly by_reject: readonly boolean[];
}

/**
 * Adjusts p-values of many tests looked at together; rejected where adjusted ≤ q. An empty list is allowed.
 *
 * Sources: Holm (1979); Benjamini & Hochberg, JRSS B 57 (1995); Benjamini & Yekutieli, Annals of Statistics 29 (2001).
 */
export function adjustPValues(p: Numbers, q: number): AdjustedPValues {
  checkProbabilityParameter(q, 'q');
  checkFinite(p, 'p');
  checkUnitInterval(p, 'p');
  const n = p.length;
  const order = ascendingOrder(p);
  let harmonic = 0;
  for (let i = 1; i <= n; i++) harmonic += 1 / i;

  const bh = Array.from(p);
  const by = Array.from(p);
  let least = 1;
  let leastBy = 1;
  for (let rank = n; rank >= 1; rank--) {
    const row = order[rank - 1]!;
    const scaled = (p[row]! * n) / rank;
    least = Math.min(least, scaled);
    leastBy = Math.min(leastBy, scaled * harmonic);
    bh[row] = least;
    by[row] = leastBy;
  }
  const holm = Array.from(p);
  let most = 0;
  for (let rank = 1; rank <= n; rank++) {
    const row = order[rank - 1]!;
    most = Math.max(most, Math.min(1, p[row]! * (n - rank + 1)));
    holm[row] = most;
  }
  const reject = (adjusted: readonly number[]): boolean[] => adjusted.map((value) => value <= q);
  return {
    bh_adjusted: bh,
    bh_reject: reject(bh),
    holm_adjusted: holm,
    holm_reject: reject(holm),
    by_adjusted: by,
    by_reject: reject(by),
  };
}
