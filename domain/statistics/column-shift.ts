import { type Numbers, checkCountParameter, checkFinite, checkNotEmpty, checkParameter, sum } from './input-checks.ts';
import { fisherGreater, fisherTwoSided } from './fisher.ts';
import { normalTwoSided } from './special-functions.ts';
import { StatisticError } from './statistic-error.ts';

export interface NullRateTest {
  /** current rate − reference rate */
  readonly diff: number;
  readonly z: number;
  /** two-sided */
  readonly p: number;
  readonly p_fisher: number;
  /** against more missing values than before */
  readonly p_fisher_increase: number;
}

/** Did the share of missing values change? Pooled z and Fisher's exact test; all or none missing on both sides: z 0, p 1. */
export function nullRateTest(counts: {
  readonly refNull: number;
  readonly refN: number;
  readonly curNull: number;
  readonly curN: number;
}): NullRateTest {
  const { refNull, refN, curNull, curN } = counts;
  for (const [name, value] of Object.entries(counts)) checkCountParameter(value, name);
  checkParameter(refNull <= refN && curNull <= curN, 'there are more missing values than rows');
  if (refN === 0 || curN === 0) throw new StatisticError('empty', 'one side has no rows');
  const diff = curNull / curN - refNull / refN;
  const pooled = (refNull + curNull) / (refN + curN);
  const variance = pooled * (1 - pooled) * (1 / refN + 1 / curN);
  const z = variance === 0 ? 0 : diff / Math.sqrt(variance);
  const cells = [curNull, curN - curNull, refNull, refN - refNull] as const;
  return {
    diff,
    z,
    p: normalTwoSided(z),
    p_fisher: fisherTwoSided(...cells),
    p_fisher_increase: fisherGreater(...cells),
  };
}

export interface MeanShift {
  readonly mean: number;
  /** (mean − reference mean)/reference sd */
  readonly shift_in_sd: number;
  readonly z: number;
  /** two-sided */
  readonly p: number;
}

/**
 * Shift of a column's mean against a baseline whose mean and sd are known constants: z = (mean − ref_mean)/(ref_sd/√n).
 * @throws StatisticError zero_variance for a baseline sd of 0
 */
export function meanShiftZ(
  current: Numbers,
  { refMean, refSd }: { readonly refMean: number; readonly refSd: number },
): MeanShift {
  checkParameter(Number.isFinite(refMean), `ref_mean must be a number, got ${refMean}`);
  checkParameter(refSd >= 0 && Number.isFinite(refSd), `ref_sd must be a number of at least 0, got ${refSd}`);
  checkNotEmpty(current, 'cur');
  checkFinite(current, 'cur');
  if (refSd === 0) throw new StatisticError('zero_variance', 'the reference does not vary');
  const mean = sum(current) / current.length;
  const shift = (mean - refMean) / refSd;
  const z = shift * Math.sqrt(current.length);
  return { mean, shift_in_sd: shift, z, p: normalTwoSided(z) };
}
