import {
  type Numbers,
  checkCountParameter,
  checkFinite,
  checkNotEmpty,
  checkParameter,
  checkProbabilityParameter,
  checkReportAt,
  checkUnitInterval,
} from './input-checks.ts';
import { StatisticError } from './statistic-error.ts';

/** Cap of the bets of the empirical-Bernstein sequence, which must stay below 1. */
const BERNSTEIN_CAP = 0.5;

export interface BettingOptions {
  readonly alpha: number;
  /** share of the largest safe bet that is staked, c in (0, 1) */
  readonly truncation?: number;
  /** split of the capital between betting on a larger and on a smaller mean */
  readonly theta?: number;
}

/** Bets against a list of candidate means; everything is a plain number or list, so that it can be stored. */
export interface BettingState {
  readonly alpha: number;
  readonly truncation: number;
  readonly theta: number;
  readonly candidates: readonly number[];
  /** ln of the capital of the bets on a mean above / below each candidate */
  readonly logUp: readonly number[];
  readonly logDown: readonly number[];
  readonly t: number;
  readonly sum: number;
  /** Σ (xᵢ − μ̂ᵢ)² */
  readonly squares: number;
  /** sums of the empirical-Bernstein sequence: Σλ, Σλx, Σvψ(λ) */
  readonly stakes: number;
  readonly stakedSum: number;
  readonly penalty: number;
}

/**
 * Confidence sequence of the mean of values in [0, 1] by betting: a candidate mean is refused once bets against it have
 * multiplied the capital to 1/α.
 *
 *   λ_t = √(2 ln(2/α)/(σ̂²_{t−1} t ln(1+t)));   K⁺ = Π(1 + min(λ, c/m)(x − m)),  K⁻ = Π(1 − min(λ, c/(1−m))(x − m))
 *
 * Source: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024), eq. (26).
 */
export const bettingCapital = { initial: startBetting, step: stepBetting, logCapital };

function startBetting(
  candidates: readonly number[],
  { alpha, truncation = 0.5, theta = 0.5 }: BettingOptions,
): BettingState {
  checkProbabilityParameter(alpha, 'alpha');
  checkProbabilityParameter(truncation, 'truncation');
  checkProbabilityParameter(theta, 'theta');
  for (const m of candidates) checkParameter(m >= 0 && m <= 1, `a candidate mean must lie in [0, 1], got ${m}`);
  return {
    alpha,
    truncation,
    theta,
    candidates,
    logUp: candidates.map(() => 0),
    logDown: candidates.map(() => 0),
    t: 0,
    sum: 0,
    squares: 0,
    stakes: 0,
    stakedSum: 0,
    penalty: 0,
  };
}

function stepBetting(state: BettingState, x: number): BettingState {
  if (!(x >= 0 && x <= 1)) throw new StatisticError('out_of_range', `a value must lie in [0, 1], got ${x}`);
  const { candidates, truncation } = state;
  const t = state.t + 1;
  const varianceBefore = (0.25 + state.squares) / t;
  const meanBefore = (0.5 + state.sum) / t;
  const stake = Math.sqrt((2 * Math.log(2 / state.alpha)) / (varianceBefore * t * Math.log1p(t)));
  const sum = state.sum + x;
  const mean = (0.5 + sum) / (t + 1);
  const careful = Math.min(stake, BERNSTEIN_CAP);
  const surprise = 4 * (x - meanBefore) ** 2;
  return {
    ...state,
    logUp: state.logUp.map(
      (log, i) => log + Math.log1p(Math.min(stake, truncation / candidates[i]!) * (x - candidates[i]!)),
    ),
    logDown: state.logDown.map(
      (log, i) => log + Math.log1p(-Math.min(stake, truncation / (1 - candidates[i]!)) * (x - candidates[i]!)),
    ),
    t,
    sum,
    squares: state.squares + (x - mean) ** 2,
    stakes: state.stakes + careful,
    stakedSum: state.stakedSum + careful * x,
    penalty: state.penalty + (surprise * (-Math.log1p(-careful) - careful)) / 4,
  };
}

/** ln max(θK⁺, (1−θ)K⁻) per candidate; at ln(1/α) the candidate is refused. */
function logCapital({ logUp, logDown, theta }: BettingState): number[] {
  return logUp.map((up, i) => Math.max(Math.log(theta) + up, Math.log(1 - theta) + logDown[i]!));
}

/** Predictable plug-in empirical-Bernstein interval of the same values, not clipped to [0, 1] (Theorem 2 there). */
export function empiricalBernstein({ alpha, stakes, stakedSum, penalty, t }: BettingState): {
  lower: number;
  upper: number;
} {
  if (t === 0) throw new StatisticError('empty', 'a confidence sequence needs at least one value');
  const centre = stakedSum / stakes;
  const width = (Math.log(2 / alpha) + penalty) / stakes;
  return { lower: centre - width, upper: centre + width };
}

export interface BettingCs {
  /** by candidate mean, one value per report */
  readonly log_capital: Readonly<Record<string, readonly number[]>>;
  /** candidates k/grid kept at that report, ends moved out by one step; null when none is */
  readonly hedged_cs: readonly (readonly [number, number] | null)[];
  readonly prpl_eb_lower: readonly number[];
  readonly prpl_eb_upper: readonly number[];
}

/** The sequence over rows, reported after each of the first `reportAt` rows; no running intersection. */
export function bettingCs(
  x: Numbers,
  { means, grid, reportAt, ...options }: BettingOptions & { means: Numbers; grid: number; reportAt: Numbers },
): BettingCs {
  checkCountParameter(grid, 'grid', 2);
  const wanted = Array.from(means);
  let asked = bettingCapital.initial(wanted, options);
  let scanned = bettingCapital.initial(
    Array.from({ length: grid - 1 }, (_, k) => (k + 1) / grid),
    options,
  );
  checkNotEmpty(x, 'x');
  checkReportAt(reportAt, x.length);
  checkFinite(x, 'x');
  checkUnitInterval(x, 'x');

  const reports = new Map<number, { asked: BettingState; kept: readonly [number, number] | null }>();
  const positions = new Set(Array.from(reportAt));
  for (let i = 0; i < x.length; i++) {
    asked = bettingCapital.step(asked, x[i]!);
    scanned = bettingCapital.step(scanned, x[i]!);
    if (positions.has(i + 1)) reports.set(i + 1, { asked, kept: keptRange(scanned, grid) });
  }
  const inOrder = Array.from(reportAt, (at) => reports.get(at)!);
  const capitals = inOrder.map((report) => bettingCapital.logCapital(report.asked));
  const bounds = inOrder.map((report) => empiricalBernstein(report.asked));
  return {
    log_capital: Object.fromEntries(wanted.map((m, i) => [String(m), capitals.map((capital) => capital[i]!)])),
    hedged_cs: inOrder.map((report) => report.kept),
    prpl_eb_lower: bounds.map((bound) => bound.lower),
    prpl_eb_upper: bounds.map((bound) => bound.upper),
  };
}

function keptRange(state: BettingState, grid: number): readonly [number, number] | null {
  const limit = -Math.log(state.alpha);
  const capital = bettingCapital.logCapital(state);
  const first = capital.findIndex((log) => log < limit);
  if (first === -1) return null;
  const last = capital.findLastIndex((log) => log < limit);
  return [first / grid, (last + 2) / grid];
}
