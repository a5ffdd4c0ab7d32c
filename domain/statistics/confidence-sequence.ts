import {
  type Numbers,
  checkAnyRow,
  checkFinite,
  checkParameter,
  checkPositiveParameter,
  checkProbabilityParameter,
  checkReportAt,
} from './input-checks.ts';
import { StatisticError } from './statistic-error.ts';

/** Mean and sum of squared deviations; states of parts merge to the state of the whole. */
export interface Moments {
  readonly n: number;
  readonly mean: number;
  readonly m2: number;
}

/** Sums over a block of values: how many, Σx, Σx². */
export interface ValueSums {
  readonly n: number;
  readonly sum: number;
  readonly sumSq: number;
}

export const NO_MOMENTS: Moments = { n: 0, mean: 0, m2: 0 };

/** Source of the merge: Chan, Golub & LeVeque (1979). */
export function mergeMoments(a: Moments, b: Moments): Moments {
  if (a.n === 0) return b;
  if (b.n === 0) return a;
  const n = a.n + b.n;
  const delta = b.mean - a.mean;
  return { n, mean: a.mean + (delta * b.n) / n, m2: a.m2 + b.m2 + (delta * delta * a.n * b.n) / n };
}

export function momentsOf({ n, sum: total, sumSq }: ValueSums): Moments {
  if (n === 0) return NO_MOMENTS;
  return { n, mean: total / n, m2: Math.max(0, sumSq - (total * total) / n) };
}

export interface SequenceOptions {
  /** error over all looks together */
  readonly alpha: number;
  /** sample size at which the interval is tightest */
  readonly tStar: number;
}

export interface SequenceInterval {
  readonly estimate: number;
  readonly lower: number;
  readonly upper: number;
  readonly n: number;
}

/** ρ that makes the two-sided sequence tightest at tStar: ρ² = (−2 ln α + ln(−2 ln α + 1))/t*. */
export function asymptoticRho({ alpha, tStar }: SequenceOptions): number {
  checkProbabilityParameter(alpha, 'alpha');
  checkPositiveParameter(tStar, 't_star');
  const u = -2 * Math.log(alpha);
  return Math.sqrt((u + Math.log(u + 1)) / tStar);
}

/** The ρ of a one-sided bound is that of the two-sided sequence at 2α, which needs α < ½. */
function asymptoticRhoOneSided({ alpha, tStar }: SequenceOptions): number {
  checkParameter(alpha > 0 && alpha < 0.5, `alpha of a one-sided bound must lie between 0 and 0.5, got ${alpha}`);
  return asymptoticRho({ alpha: 2 * alpha, tStar });
}

/**
 * Asymptotic confidence sequence of a mean: mean ± sd·√(2(tρ²+1)/(t²ρ²)·ln(√(tρ²+1)/α)), sd with ddof 0.
 *
 * Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and asymptotic confidence
 * sequences", Annals of Statistics 52 (2024), Theorem 2.2. It is asymptotic: while every value is equal its width is 0, so a
 * caller asks for a least number of rows (and of events) before trusting it.
 * @throws StatisticError empty before the first value
 */
export function asymptoticInterval(moments: Moments, options: SequenceOptions): SequenceInterval {
  const width = twoSidedWidth(moments, options);
  const { n, mean } = moments;
  return { estimate: mean, lower: mean - width, upper: mean + width, n };
}

/** One-sided lower bound: ln(1 + √(tρ²+1)/(2α)) in place of the logarithm, ρ from 2α (Proposition B.1 there). */
export function asymptoticLowerBound(moments: Moments, options: SequenceOptions): number {
  return moments.mean - oneSidedWidth(moments, options);
}

export function asymptoticUpperBound(moments: Moments, options: SequenceOptions): number {
  return moments.mean + oneSidedWidth(moments, options);
}

function twoSidedWidth(moments: Moments, options: SequenceOptions): number {
  const rho = asymptoticRho(options);
  const k = moments.n * rho * rho + 1;
  return boundaryWidth(moments, rho, Math.log(Math.sqrt(k) / options.alpha));
}

function oneSidedWidth(moments: Moments, options: SequenceOptions): number {
  const rho = asymptoticRhoOneSided(options);
  const k = moments.n * rho * rho + 1;
  return boundaryWidth(moments, rho, Math.log1p(Math.sqrt(k) / (2 * options.alpha)));
}

function boundaryWidth({ n, m2 }: Moments, rho: number, logTerm: number): number {
  if (n === 0) throw new StatisticError('empty', 'a confidence sequence needs at least one value');
  const k = n * rho * rho + 1;
  return Math.sqrt(m2 / n) * Math.sqrt(((2 * k) / (n * rho * n * rho)) * logTerm);
}

/** The sequence over rows, reported after each of the first `reportAt` rows. */
export function asymptoticCs(
  x: Numbers,
  { alpha, tStar, reportAt }: SequenceOptions & { readonly reportAt: Numbers },
): { rho: number; two_sided: [number, number][]; rho_one_sided: number; lower_one_sided: number[] } {
  const options = { alpha, tStar };
  const rho = asymptoticRho(options);
  const rhoOneSided = asymptoticRhoOneSided(options);
  checkAnyRow(x, undefined);
  checkReportAt(reportAt, x.length);
  checkFinite(x, 'x');
  const prefixes = new Map<number, Moments>();
  const wanted = new Set(Array.from(reportAt));
  let moments = NO_MOMENTS;
  for (let i = 0; i < x.length; i++) {
    moments = mergeMoments(moments, { n: 1, mean: x[i]!, m2: 0 });
    if (wanted.has(i + 1)) prefixes.set(i + 1, moments);
  }
  const reports = Array.from(reportAt, (at) => prefixes.get(at)!);
  return {
    rho,
    two_sided: reports.map((prefix) => {
      const { lower, upper } = asymptoticInterval(prefix, options);
      return [lower, upper];
    }),
    rho_one_sided: rhoOneSided,
    lower_one_sided: reports.map((prefix) => asymptoticLowerBound(prefix, options)),
  };
}
