import {
  type Numbers,
  checkCountParameter,
  checkCounts,
  checkFinite,
  checkLengths,
  checkParameter,
  sum,
} from './input-checks.ts';
import { chiSquareQuantile } from './special-functions.ts';
import { StatisticError } from './statistic-error.ts';

/**
 * What stands in for an empty bin. `add`: + value in every bin, then normalise. `floor`: normalise, then zero shares become
 * value, without renormalising (Evidently's rule with 1e-4). `none`: a zero on one side makes PSI infinite.
 */
export type Smoothing =
  | { readonly kind: 'add'; readonly value: number }
  | { readonly kind: 'floor'; readonly value: number }
  | { readonly kind: 'none' };

/** Jeffreys' half count: keeps PSI finite without moving well-filled bins. */
export const DEFAULT_SMOOTHING: Smoothing = { kind: 'add', value: 0.5 };

export interface PsiResult {
  /** nats; Infinity only without smoothing */
  readonly psi: number;
  /** what PSI is on average when nothing changed, (B−1)(1/n + 1/m) */
  readonly null_mean: number;
  /** PSI that unchanged data exceeds in 1 % of looks, χ²_{B−1}(0.99)·(1/n + 1/m); fixed limits such as 0.2 ignore n */
  readonly critical_99: number;
}

/**
 * Population stability index of `current` against `reference`: Σ (c − r) ln(c / r) over bin shares.
 *
 * Source: Siddiqi, "Credit Risk Scorecards" (2006); the null law: Yurdakul (2018).
 * @param reference,current counts ≥ 0 per bin, same bins, also the empty ones
 */
export function psiCounts(reference: Numbers, current: Numbers, smoothing: Smoothing = DEFAULT_SMOOTHING): PsiResult {
  checkLengths(reference, current);
  checkSmoothing(smoothing);
  checkCounts(reference, 'ref');
  checkCounts(current, 'cur');
  if (reference.length === 0) throw new StatisticError('empty', 'PSI needs at least one bin');
  checkFinite(reference, 'ref');
  checkFinite(current, 'cur');
  const n = sum(reference);
  const m = sum(current);
  if (n === 0 || m === 0) throw new StatisticError('empty', `one side holds no rows: ${n} in ref, ${m} in cur`);

  const r = shares(reference, n, smoothing);
  const c = shares(current, m, smoothing);
  let psi = 0;
  for (let bin = 0; bin < r.length; bin++) {
    const difference = c[bin]! - r[bin]!;
    if (difference === 0) continue; // also zero on both sides
    psi += r[bin] === 0 || c[bin] === 0 ? Infinity : difference * Math.log(c[bin]! / r[bin]!);
  }
  const scale = 1 / n + 1 / m;
  return {
    psi,
    null_mean: (r.length - 1) * scale,
    critical_99: chiSquareQuantile(0.99, r.length - 1) * scale,
  };
}

function checkSmoothing(smoothing: Smoothing): void {
  const known = smoothing.kind === 'add' || smoothing.kind === 'floor' || smoothing.kind === 'none';
  checkParameter(known, `there is no smoothing called ${String(smoothing.kind)}`);
  if (smoothing.kind === 'none') return;
  checkParameter(
    smoothing.value > 0 && Number.isFinite(smoothing.value),
    `the smoothing value must be a positive number, got ${smoothing.value}`,
  );
}

function shares(counts: Numbers, total: number, smoothing: Smoothing): Float64Array {
  const bins = counts.length;
  const result = new Float64Array(bins);
  const added = smoothing.kind === 'add' ? smoothing.value : 0;
  const floor = smoothing.kind === 'floor' ? smoothing.value : 0;
  for (let bin = 0; bin < bins; bin++) {
    const share = (counts[bin]! + added) / (total + added * bins);
    result[bin] = share === 0 ? floor : share;
  }
  return result;
}

/**
 * Bin edges of `psi_ref_decile_v1`: the distinct type-7 quantiles of the reference at 1/B … (B−1)/B. A dataset's manifest
 * freezes them, so that every later window is binned alike.
 * @param reference NaN is a missing value and left out
 * @returns at most B − 1 ascending edges; fewer where the reference has few distinct values
 * @throws StatisticError empty when nothing but missing values is given; non_finite for an infinity
 */
export function referenceEdges(reference: Numbers, bins: number): Float64Array {
  checkCountParameter(bins, 'bins', 1);
  const values = presentValues(reference, 'ref').sort();
  if (values.length === 0) throw new StatisticError('empty', 'the reference has no values');
  const edges = new Float64Array(bins - 1);
  let distinct = 0;
  for (let i = 1; i < bins; i++) {
    const edge = sortedQuantile(values, i / bins);
    if (distinct === 0 || edge !== edges[distinct - 1]) edges[distinct++] = edge;
  }
  return edges.slice(0, distinct);
}

/**
 * Type-7 quantile (the default of numpy and R) of ascending values, interpolated from the nearer end as numpy does, so that
 * edges agree to the last bit and a value on an edge falls in the same bin.
 */
export function sortedQuantile(ascending: Numbers, q: number): number {
  const at = q * (ascending.length - 1);
  const below = Math.floor(at);
  const low = ascending[below]!;
  const high = ascending[Math.min(below + 1, ascending.length - 1)]!;
  const share = at - below;
  return share >= 0.5 ? high - (high - low) * (1 - share) : low + (high - low) * share;
}

/**
 * Rows per bin: bin = number of edges ≤ x, so bins are [lo, hi) with open ends.
 * @param values NaN is missing and counted apart
 * @param edges ascending, e.g. from referenceEdges
 * @returns counts of length edges + 1, and how many values were missing
 */
export function binCounts(values: Numbers, edges: Numbers): { counts: Float64Array; missing: number } {
  const counts = new Float64Array(edges.length + 1);
  let missing = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value !== value) missing++;
    else counts[edgesNotAbove(edges, value)]! += 1;
  }
  return { counts, missing };
}

function edgesNotAbove(edges: Numbers, value: number): number {
  let low = 0;
  let high = edges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (edges[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

export interface PsiNumericResult extends PsiResult {
  readonly psi_unsmoothed: number;
  readonly edges: readonly number[];
  /** per bin; one more, last, for missing values if either side has any */
  readonly ref_counts: readonly number[];
  readonly cur_counts: readonly number[];
}

/** PSI of a numeric column by reference quantiles, `psi_ref_decile_v1`. NaN is a missing value. */
export function psiNumeric(
  reference: Numbers,
  current: Numbers,
  { bins = 10, smoothing = DEFAULT_SMOOTHING }: { readonly bins?: number; readonly smoothing?: Smoothing } = {},
): PsiNumericResult {
  checkCountParameter(bins, 'bins', 1);
  checkSmoothing(smoothing);
  if (current.length === 0) throw new StatisticError('empty', 'cur has no rows');
  const edges = referenceEdges(reference, bins);
  presentValues(current, 'cur');
  const ref = binCounts(reference, edges);
  const cur = binCounts(current, edges);
  const anyMissing = ref.missing + cur.missing > 0;
  const refCounts = anyMissing ? [...ref.counts, ref.missing] : [...ref.counts];
  const curCounts = anyMissing ? [...cur.counts, cur.missing] : [...cur.counts];
  return {
    ...psiCounts(refCounts, curCounts, smoothing),
    psi_unsmoothed: psiCounts(refCounts, curCounts, { kind: 'none' }).psi,
    edges: [...edges],
    ref_counts: refCounts,
    cur_counts: curCounts,
  };
}

function presentValues(values: Numbers, name: string): Float64Array {
  const present = new Float64Array(values.length);
  let n = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value !== value) continue;
    if (value === Infinity || value === -Infinity) {
      throw new StatisticError('non_finite', `${name} has ${value} at row ${i}`);
    }
    present[n++] = value + 0;
  }
  return present.subarray(0, n);
}
