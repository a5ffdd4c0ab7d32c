import {
  type Numbers,
  checkCounts,
  checkFinite,
  checkLengths,
  checkNotEmpty,
  checkWeights,
  sum,
} from './input-checks.ts';
import { ascendingOrder } from './order.ts';
import { StatisticError } from './statistic-error.ts';

export interface Divergences {
  /** nats; Infinity where q is 0 and p is not */
  readonly kl_pq: number;
  readonly kl_qp: number;
  readonly js_divergence_nats: number;
  /** √ of the divergence */
  readonly js_distance_nats: number;
  readonly js_distance_base2: number;
  readonly hellinger: number;
  /** total variation, ½ Σ |p − q| */
  readonly tvd: number;
  readonly l_inf: number;
}

/** Distances between two discrete distributions over the same categories; both are normalised here. */
export function divergences(p: Numbers, q: Numbers): Divergences {
  checkLengths(p, q);
  checkCounts(p, 'p');
  checkCounts(q, 'q');
  checkNotEmpty(p, 'p');
  checkFinite(p, 'p');
  checkFinite(q, 'q');
  const pTotal = sum(p);
  const qTotal = sum(q);
  if (pTotal === 0 || qTotal === 0) throw new StatisticError('empty', 'a distribution has no mass');

  let klPq = 0;
  let klQp = 0;
  let js = 0;
  let hellinger2 = 0;
  let absolute = 0;
  let largest = 0;
  for (let i = 0; i < p.length; i++) {
    const a = p[i]! / pTotal;
    const b = q[i]! / qTotal;
    const middle = (a + b) / 2;
    klPq += relativeEntropy(a, b);
    klQp += relativeEntropy(b, a);
    js += (relativeEntropy(a, middle) + relativeEntropy(b, middle)) / 2;
    // 1 − Σ√pq = ½ Σ (√p − √q)², which does not cancel for near-equal distributions
    hellinger2 += (Math.sqrt(a) - Math.sqrt(b)) ** 2 / 2;
    absolute += Math.abs(a - b);
    largest = Math.max(largest, Math.abs(a - b));
  }
  const divergence = Math.max(0, js);
  return {
    kl_pq: klPq,
    kl_qp: klQp,
    js_divergence_nats: divergence,
    js_distance_nats: Math.sqrt(divergence),
    js_distance_base2: Math.sqrt(divergence / Math.LN2),
    hellinger: Math.sqrt(hellinger2),
    tvd: absolute / 2,
    l_inf: largest,
  };
}

function relativeEntropy(a: number, b: number): number {
  if (a === 0) return 0;
  return b === 0 ? Infinity : a * Math.log(a / b);
}

/** Least sd that a distance is divided by (Evidently), so that a constant reference does not blow it up. */
const LEAST_REFERENCE_SD = 0.001;

/**
 * Earth mover's distance ∫ |F − G| between samples, in the unit of the values.
 * @returns w1_over_ref_sd divides by the sd (ddof 0) of `a`, at least 0.001; null with weights
 */
export function wasserstein1(
  a: Numbers,
  b: Numbers,
  aWeight?: Numbers,
  bWeight?: Numbers,
): { w1: number; w1_over_ref_sd: number | null } {
  checkLengths(a, aWeight);
  checkLengths(b, bWeight);
  checkNotEmpty(a, 'a');
  checkNotEmpty(b, 'b');
  checkFinite(a, 'a', aWeight);
  checkFinite(b, 'b', bWeight);
  checkWeights(aWeight);
  checkWeights(bWeight);
  const left = steps(a, aWeight, 'a');
  const right = steps(b, bWeight, 'b');

  let i = 0;
  let j = 0;
  let f = 0;
  let g = 0;
  let w1 = 0;
  let previous = Math.min(left.values[0]!, right.values[0]!);
  while (i < left.values.length || j < right.values.length) {
    const value = Math.min(left.values[i] ?? Infinity, right.values[j] ?? Infinity);
    w1 += Math.abs(f / left.total - g / right.total) * (value - previous);
    while (i < left.values.length && left.values[i] === value) f += left.weights[i++]!;
    while (j < right.values.length && right.values[j] === value) g += right.weights[j++]!;
    previous = value;
  }
  const weighted = aWeight !== undefined || bWeight !== undefined;
  return { w1, w1_over_ref_sd: weighted ? null : w1 / Math.max(populationSd(a), LEAST_REFERENCE_SD) };
}

function steps(
  values: Numbers,
  weight: Numbers | undefined,
  name: string,
): { values: Float64Array; weights: Float64Array; total: number } {
  const rows: number[] = [];
  for (let i = 0; i < values.length; i++) if (weight === undefined || weight[i] !== 0) rows.push(i);
  if (rows.length === 0) throw new StatisticError('empty', `${name} has no rows of positive weight`);
  const kept = Float64Array.from(rows, (row) => values[row]!);
  const order = ascendingOrder(kept);
  const weights = Float64Array.from(order, (at) => (weight === undefined ? 1 : weight[rows[at]!]!));
  return { values: Float64Array.from(order, (at) => kept[at]!), weights, total: sum(weights) };
}

function populationSd(values: Numbers): number {
  const mean = sum(values) / values.length;
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (values[i]! - mean) ** 2;
  return Math.sqrt(squares / values.length);
}
