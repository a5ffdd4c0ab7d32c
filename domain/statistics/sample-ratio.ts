import {
  type Numbers,
  checkAnyRow,
  checkBinary,
  checkCounts,
  checkFinite,
  checkLengths,
  checkParameter,
  checkPositiveParameter,
  checkProbabilityParameter,
  checkReportAt,
  checkWeights,
  sum,
} from './input-checks.ts';
import { chiSquareUpper, stirlingError } from './special-functions.ts';
import { StatisticError } from './statistic-error.ts';

/** ln 1000: the Bayes factor at which a split is called broken; by Ville at most 1 in 1000 sound splits ever gets there. */
export const SRM_ALARM = Math.log(1000);

/** Pseudo-units of the Dirichlet prior around the configured weights (α = 100·weights). */
const SRM_CONCENTRATION = 100;

export interface SrmResult {
  /** Infinity when an arm of weight 0 got traffic */
  readonly chi2: number;
  /** of a single look */
  readonly p: number;
  /** anytime-valid: alarm at SRM_ALARM */
  readonly log_bayes_factor: number;
}

/**
 * Compares unit counts per arm with the configured weights.
 * @param counts units per arm, ≥ 0    @param weights relative, normalised here
 */
export function srm(counts: Numbers, weights: Numbers, concentration = SRM_CONCENTRATION): SrmResult {
  const shares = checkSplit(counts, weights, concentration);
  const total = sum(counts);
  let chi2 = 0;
  let arms = 0;
  for (let i = 0; i < counts.length; i++) {
    const expected = shares[i]! * total;
    if (expected === 0 && counts[i] === 0) continue;
    arms++;
    chi2 += expected === 0 ? Infinity : ((counts[i]! - expected) * (counts[i]! - expected)) / expected;
  }
  return {
    chi2,
    p: chiSquareUpper(chi2, arms - 1),
    log_bayes_factor: dirichletLogBayesFactor(counts, shares, concentration),
  };
}

/**
 * ln of the Dirichlet-multinomial likelihood (α = concentration·weights) over that of the configured weights themselves. It
 * depends on the counts alone, so it is its own incremental form: a rollout keeps the counts of a stage and asks at each
 * look. After a change of weights start new counts; the sum of the stages' logarithms is again an e-process.
 *
 * Source: Lindon & Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022).
 */
export function srmLogBayesFactor(counts: Numbers, weights: Numbers, concentration = SRM_CONCENTRATION): number {
  return dirichletLogBayesFactor(counts, checkSplit(counts, weights, concentration), concentration);
}

function checkSplit(counts: Numbers, weights: Numbers, concentration: number): Float64Array {
  checkLengths(counts, weights);
  checkPositiveParameter(concentration, 'concentration');
  checkCounts(counts, 'counts');
  if (counts.length === 0 || sum(counts) === 0) throw new StatisticError('empty', 'no unit was assigned yet');
  checkFinite(counts, 'counts');
  checkWeights(weights);
  const total = sum(weights);
  checkParameter(total > 0, 'at least one arm must have a weight above 0');
  return Float64Array.from(weights, (weight) => weight / total);
}

/**
 * With s_i = α_i + n_i, S = A + N and r_i = s_i/(S w_i), Stirling's formula for every Γ leaves
 *
 *   ln BF = (1−k)/2·ln(S/A) + Σ (s_i − ½) ln r_i + Σ (δ(s_i) − δ(α_i)) − δ(S) + δ(A)
 *
 * where the terms of size N ln N have cancelled on paper instead of in floating point.
 */
function dirichletLogBayesFactor(counts: Numbers, shares: Float64Array, concentration: number): number {
  const total = sum(counts);
  const grown = concentration + total;
  let arms = 0;
  let log = stirlingError(concentration) - stirlingError(grown);
  for (let i = 0; i < counts.length; i++) {
    const share = shares[i]!;
    const count = counts[i]!;
    if (share === 0) {
      if (count > 0) return Infinity;
      continue;
    }
    arms++;
    const prior = concentration * share;
    const expected = total * share;
    log += (prior + count - 0.5) * Math.log1p((count - expected) / (prior + expected));
    log += stirlingError(prior + count) - stirlingError(prior);
  }
  return log + ((1 - arms) / 2) * Math.log(grown / concentration);
}

/** The binary form over a stream of assignments, reported after each of the first `reportAt` units. */
export function srmSequential(
  assignment: Numbers,
  {
    weightOfOne,
    concentration = SRM_CONCENTRATION,
    reportAt,
  }: { weightOfOne: number; concentration?: number; reportAt: Numbers },
): { log_bayes_factor: number[] } {
  checkProbabilityParameter(weightOfOne, 'weight_of_one');
  checkPositiveParameter(concentration, 'concentration');
  checkAnyRow(assignment, undefined);
  checkReportAt(reportAt, assignment.length);
  checkFinite(assignment, 'assignment');
  checkBinary(assignment, 'assignment');
  const ones = new Float64Array(assignment.length);
  let seen = 0;
  for (let i = 0; i < assignment.length; i++) {
    seen += assignment[i]!;
    ones[i] = seen;
  }
  return {
    log_bayes_factor: Array.from(reportAt, (at) =>
      srmLogBayesFactor([at - ones[at - 1]!, ones[at - 1]!], [1 - weightOfOne, weightOfOne], concentration),
    ),
  };
}
