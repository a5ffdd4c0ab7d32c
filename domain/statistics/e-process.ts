import {
  type Numbers,
  checkAnyRow,
  checkCountParameter,
  checkFinite,
  checkLengths,
  checkParameter,
  checkPositiveParameter,
  checkProbabilityParameter,
  checkReportAt,
} from './input-checks.ts';

export interface EventCounts {
  readonly n: number;
  readonly successes: number;
}

/** What both arms saw since the last look. The sizes may differ from block to block. */
export interface EventBlock {
  readonly champion: EventCounts;
  readonly canary: EventCounts;
}

export interface BernoulliEProcessState {
  /** pseudo-successes and pseudo-failures of each arm before any data */
  readonly prior: number;
  /** everything seen so far */
  readonly champion: EventCounts;
  readonly canary: EventCounts;
  /** ln of the e-value: evidence against equal rates, cumulative, two-sided */
  readonly log_e: number;
}

/** Prior of Turner, Ly & Grünwald: near-optimal growth for small blocks. */
const TURNER_PRIOR = 0.18;

/**
 * Two-sample e-process for equal success rates in both arms.
 *
 *   θ̂ = (successes + .18)/(trials + .36) per arm from earlier blocks;  θ₀ = (n_a θ_a + n_b θ_b)/(n_a + n_b)
 *   log_e += Σ over the block of ln p(x; θ̂_arm) − ln p(x; θ₀)
 *
 * Source: Turner, Ly & Grünwald, "Generic E-variables for exact sequential k-sample tests" (arXiv 2106.02693). Reject equal
 * rates at level α when log_e ≥ ln(1/α), at any look (Ville).
 */
export const bernoulliEProcess = { initial: startEProcess, step: stepEProcess };

function startEProcess(prior: number = TURNER_PRIOR): BernoulliEProcessState {
  checkPositiveParameter(prior, 'prior');
  return { prior, champion: { n: 0, successes: 0 }, canary: { n: 0, successes: 0 }, log_e: 0 };
}

function stepEProcess(state: BernoulliEProcessState, block: EventBlock): BernoulliEProcessState {
  checkEvents(block.champion, 'champion');
  checkEvents(block.canary, 'canary');
  const { champion, canary } = block;
  const total = champion.n + canary.n;
  if (total === 0) return state;
  const championRate = (state.champion.successes + state.prior) / (state.champion.n + 2 * state.prior);
  const canaryRate = (state.canary.successes + state.prior) / (state.canary.n + 2 * state.prior);
  const commonRate = (champion.n * championRate + canary.n * canaryRate) / total;
  return {
    prior: state.prior,
    champion: addEvents(state.champion, champion),
    canary: addEvents(state.canary, canary),
    log_e: state.log_e + logRatio(champion, championRate, commonRate) + logRatio(canary, canaryRate, commonRate),
  };
}

function checkEvents({ n, successes }: EventCounts, arm: string): void {
  checkCountParameter(n, `n of the ${arm}`);
  checkCountParameter(successes, `successes of the ${arm}`);
  checkParameter(successes <= n, `the ${arm} has ${successes} successes in ${n} trials`);
}

function addEvents(a: EventCounts, b: EventCounts): EventCounts {
  return { n: a.n + b.n, successes: a.successes + b.successes };
}

function logRatio({ n, successes }: EventCounts, rate: number, commonRate: number): number {
  return successes * Math.log(rate / commonRate) + (n - successes) * Math.log((1 - rate) / (1 - commonRate));
}

/** The level of log_e at which equal rates are rejected with error at most `alpha` over all looks. */
export function eProcessThreshold(alpha: number): number {
  checkProbabilityParameter(alpha, 'alpha');
  return -Math.log(alpha);
}

/** The e-process over blocks of one fixed size; log_e after each of the first `reportAt` blocks. */
export function bernoulliEProcessBlocks(
  successesA: Numbers,
  successesB: Numbers,
  { block, prior = TURNER_PRIOR, reportAt }: { block: readonly [number, number]; prior?: number; reportAt: Numbers },
): { log_e: number[] } {
  checkLengths(successesA, successesB);
  checkCountParameter(block[0], 'block size of a', 1);
  checkCountParameter(block[1], 'block size of b', 1);
  checkPositiveParameter(prior, 'prior');
  checkAnyRow(successesA, undefined);
  checkReportAt(reportAt, successesA.length);
  checkFinite(successesA, 'successes_a');
  checkFinite(successesB, 'successes_b');
  const logE = new Float64Array(successesA.length);
  let state = bernoulliEProcess.initial(prior);
  for (let i = 0; i < successesA.length; i++) {
    state = bernoulliEProcess.step(state, {
      champion: { n: block[0], successes: successesA[i]! },
      canary: { n: block[1], successes: successesB[i]! },
    });
    logE[i] = state.log_e;
  }
  return { log_e: Array.from(reportAt, (at) => logE[at - 1]!) };
}
