import {
  type Numbers,
  checkCountParameter,
  checkFinite,
  checkNotEmpty,
  checkProbabilityParameter,
  sum,
} from './input-checks.ts';
import { sortedQuantile } from './psi.ts';

export interface BootstrapMean {
  readonly mean: number;
  readonly percentile_ci: readonly [number, number];
  readonly bootstrap_se: number;
}

/**
 * Percentile bootstrap interval of a mean. The same seed gives the same interval.
 *
 * Source: Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
 * @param options.resamples at least 1; 10,000 leave a Monte Carlo error of about 3 % of a standard error in each end
 */
export function bootstrapMean(
  x: Numbers,
  { level, resamples, seed = 1 }: { readonly level: number; readonly resamples: number; readonly seed?: number },
): BootstrapMean {
  checkProbabilityParameter(level, 'level');
  checkCountParameter(resamples, 'resamples', 1);
  checkNotEmpty(x, 'x');
  checkFinite(x, 'x');
  const n = x.length;
  const next = uniform32(seed);
  const means = new Float64Array(resamples);
  for (let resample = 0; resample < resamples; resample++) {
    let total = 0;
    for (let i = 0; i < n; i++) total += x[Math.floor((next() / 2 ** 32) * n)]!;
    means[resample] = total / n;
  }
  means.sort();
  const centre = sum(means) / resamples;
  let squares = 0;
  for (const value of means) squares += (value - centre) ** 2;
  return {
    mean: sum(x) / n,
    percentile_ci: [sortedQuantile(means, (1 - level) / 2), sortedQuantile(means, (1 + level) / 2)],
    bootstrap_se: Math.sqrt(squares / resamples),
  };
}

/** Chris Doty-Humphrey's sfc32: uniform unsigned 32-bit integers, period at least 2³² for every seed. */
function uniform32(seed: number): () => number {
  let a = 0x9e3779b9;
  let b = 0x243f6a88;
  let c = seed | 0;
  let counter = 1;
  const next = (): number => {
    const result = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + result;
    return result >>> 0;
  };
  for (let i = 0; i < 12; i++) next();
  return next;
}
