/** Fixed-sample comparisons of two arms: a = champion, b = canary, differences b − a. For repeated looks see sequential.ts. */
import {
  type Numbers,
  checkCountParameter,
  checkFinite,
  checkLengths,
  checkNotEmpty,
  checkParameter,
  checkProbabilityParameter,
} from './input-checks.ts';
import {
  betaQuantile,
  binomialCdf,
  normalCdf,
  normalQuantile,
  normalTwoSided,
  studentCritical,
  studentTwoSided,
} from './special-functions.ts';
import { StatisticError } from './statistic-error.ts';

type Interval = readonly [lower: number, upper: number];

export interface TwoProportions {
  readonly diff: number;
  /** pooled; 0 when nothing varies */
  readonly z: number;
  readonly p_two_sided: number;
  /** against a greater rate of b */
  readonly p_b_greater: number;
  /** of the difference, unpooled */
  readonly wald_ci: Interval;
  /** of the difference, Newcombe's hybrid of the two Wilson intervals, without correction */
  readonly newcombe_ci: Interval;
  /** of the rate of b */
  readonly wilson_b: Interval;
  readonly clopper_pearson_b: Interval;
  readonly cohens_h: number;
}

/**
 * Compares two success rates.
 *
 * Sources: Newcombe, Statistics in Medicine 17 (1998), method 10; Clopper & Pearson (1934); Cohen (1988) for h.
 */
export function twoProportionZ(
  a: { readonly x: number; readonly n: number },
  b: { readonly x: number; readonly n: number },
  level: number,
): TwoProportions {
  for (const [arm, { x, n }] of [
    ['a', a],
    ['b', b],
  ] as const) {
    checkCountParameter(x, `x_${arm}`);
    checkCountParameter(n, `n_${arm}`);
    checkParameter(x <= n, `arm ${arm} has ${x} successes in ${n} trials`);
  }
  checkProbabilityParameter(level, 'level');
  if (a.n === 0 || b.n === 0) throw new StatisticError('empty', 'an arm has no trials');

  const pA = a.x / a.n;
  const pB = b.x / b.n;
  const diff = pB - pA;
  const pooled = (a.x + b.x) / (a.n + b.n);
  const variance = pooled * (1 - pooled) * (1 / a.n + 1 / b.n);
  const z = variance === 0 ? 0 : diff / Math.sqrt(variance);
  const critical = normalQuantile((1 + level) / 2);
  const wald = critical * Math.sqrt((pA * (1 - pA)) / a.n + (pB * (1 - pB)) / b.n);
  const [lowA, highA] = wilson(a.x, a.n, critical);
  const [lowB, highB] = wilson(b.x, b.n, critical);
  return {
    diff,
    z,
    p_two_sided: normalTwoSided(z),
    p_b_greater: normalCdf(-z),
    wald_ci: [diff - wald, diff + wald],
    newcombe_ci: [diff - Math.hypot(pB - lowB, highA - pA), diff + Math.hypot(highB - pB, pA - lowA)],
    wilson_b: [lowB, highB],
    clopper_pearson_b: clopperPearson(b.x, b.n, level),
    cohens_h: 2 * Math.asin(Math.sqrt(pB)) - 2 * Math.asin(Math.sqrt(pA)),
  };
}

function wilson(x: number, n: number, critical: number): Interval {
  const p = x / n;
  const z2 = critical * critical;
  const centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const half = (critical / (1 + z2 / n)) * Math.sqrt((p * (1 - p)) / n + z2 / (4 * n * n));
  return [x === 0 ? 0 : centre - half, x === n ? 1 : centre + half];
}

function clopperPearson(x: number, n: number, level: number): Interval {
  const tail = (1 - level) / 2;
  return [x === 0 ? 0 : betaQuantile(tail, x, n - x + 1), x === n ? 1 : betaQuantile(1 - tail, x + 1, n - x)];
}

export interface WelchT {
  /** mean b − mean a */
  readonly diff: number;
  readonly t: number;
  /** Satterthwaite */
  readonly df: number;
  /** two-sided */
  readonly p: number;
  readonly ci: Interval;
}

/**
 * Welch's t-test for unequal variances.
 * @throws StatisticError insufficient_n for an arm of one row, zero_variance when both arms are constant
 */
export function welchT(a: Numbers, b: Numbers, level: number): WelchT {
  checkProbabilityParameter(level, 'level');
  checkNotEmpty(a, 'a');
  checkNotEmpty(b, 'b');
  checkFinite(a, 'a');
  checkFinite(b, 'b');
  return welchOf(armMoments(a), armMoments(b), level);
}

interface ArmMoments {
  readonly n: number;
  readonly mean: number;
  /** ddof 1; exactly 0 for a constant arm */
  readonly variance: number;
}

function welchOf(a: ArmMoments, b: ArmMoments, level: number): WelchT {
  if (a.n < 2 || b.n < 2) throw new StatisticError('insufficient_n', `arms of ${a.n} and ${b.n} rows have no variance`);
  const errorA = a.variance / a.n;
  const errorB = b.variance / b.n;
  if (errorA + errorB === 0) throw new StatisticError('zero_variance', 'both arms are constant');
  const diff = b.mean - a.mean;
  const standardError = Math.sqrt(errorA + errorB);
  const t = diff / standardError;
  // shares of the squared error instead of the squares themselves, which could underflow
  const shareA = errorA / (errorA + errorB);
  const shareB = errorB / (errorA + errorB);
  const df = 1 / ((shareA * shareA) / (a.n - 1) + (shareB * shareB) / (b.n - 1));
  const half = studentCritical(level, df) * standardError;
  return { diff, t, df, p: studentTwoSided(t, df), ci: [diff - half, diff + half] };
}

function armMoments(values: Numbers): ArmMoments {
  const n = values.length;
  const first = values[0]!;
  // measured from the first value, so that a constant arm has a variance of exactly 0
  let shift = 0;
  for (let i = 0; i < n; i++) shift += values[i]! - first;
  shift /= n;
  let squares = 0;
  for (let i = 0; i < n; i++) squares += (values[i]! - first - shift) ** 2;
  return { n, mean: first + shift, variance: n > 1 ? squares / (n - 1) : 0 };
}

export interface Cuped {
  readonly theta: number;
  /** of the adjusted outcomes */
  readonly mean_a: number;
  readonly mean_b: number;
  readonly diff: number;
  readonly t: number;
  readonly df: number;
  readonly p: number;
  /** variance of the adjusted outcomes over that of the outcomes, arms pooled; null when the outcomes are constant */
  readonly variance_ratio: number | null;
}

/**
 * CUPED: outcomes adjusted by a covariate from before the experiment, then Welch's test.
 *
 *   θ = cov(y, x)/var(x), both arms pooled, ddof 1;   y − θ(x − mean x of all);   constant x: θ 0
 *
 * Source: Deng, Xu, Kohavi & Walker, WSDM (2013).
 */
export function cuped(
  a: { readonly y: Numbers; readonly x: Numbers },
  b: { readonly y: Numbers; readonly x: Numbers },
): Cuped {
  checkLengths(a.y, a.x);
  checkLengths(b.y, b.x);
  for (const [arm, { y }] of [
    ['a', a],
    ['b', b],
  ] as const)
    checkNotEmpty(y, `arm ${arm}`);
  for (const [arm, { y, x }] of [
    ['a', a],
    ['b', b],
  ] as const) {
    checkFinite(y, `y_${arm}`);
    checkFinite(x, `x_${arm}`);
  }
  if (a.y.length < 2 || b.y.length < 2) throw new StatisticError('insufficient_n', 'an arm of one row has no variance');
  const y = Float64Array.from([...Array.from(a.y), ...Array.from(b.y)]);
  const x = Float64Array.from([...Array.from(a.x), ...Array.from(b.x)]);
  const outcome = armMoments(y);
  const covariate = armMoments(x);
  let products = 0;
  for (let i = 0; i < y.length; i++) products += (y[i]! - outcome.mean) * (x[i]! - covariate.mean);
  const theta = covariate.variance === 0 ? 0 : products / (y.length - 1) / covariate.variance;
  const adjusted = Float64Array.from(y, (value, i) => value - theta * (x[i]! - covariate.mean));
  const armA = armMoments(adjusted.subarray(0, a.y.length));
  const armB = armMoments(adjusted.subarray(a.y.length));
  const { diff, t, df, p } = welchOf(armA, armB, 0.95);
  return {
    theta,
    mean_a: armA.mean,
    mean_b: armB.mean,
    diff,
    t,
    df,
    p,
    variance_ratio: outcome.variance === 0 ? null : armMoments(adjusted).variance / outcome.variance,
  };
}

/**
 * McNemar's test on the rows that one model alone gets wrong.
 * @returns the exact binomial two-sided p, and χ² without correction; null when the models never differ
 */
export function mcnemar(onlyAWrong: number, onlyBWrong: number): { p_exact: number; chi2: number | null } {
  checkCountParameter(onlyAWrong, 'only_a_wrong');
  checkCountParameter(onlyBWrong, 'only_b_wrong');
  const n = onlyAWrong + onlyBWrong;
  if (n === 0) return { p_exact: 1, chi2: null };
  return {
    p_exact: Math.min(1, 2 * binomialCdf(Math.min(onlyAWrong, onlyBWrong), n, 0.5)),
    chi2: (onlyAWrong - onlyBWrong) ** 2 / n,
  };
}
