import {
  type Numbers,
  checkFinite,
  checkLengths,
  checkNotEmpty,
  checkPositiveParameter,
  checkReportAt,
} from './input-checks.ts';

export interface MsprtState {
  /** known variance of one observation */
  readonly sigma2: number;
  /** variance of the effect under the mixture */
  readonly tau2: number;
  /** pairs seen */
  readonly t: number;
  /** Σ (b − a) */
  readonly sumDiff: number;
  readonly log_lambda: number;
  /** running minimum of 1/Λ over every t, at most 1 */
  readonly p_always_valid: number;
}

/**
 * Mixture sequential probability ratio test of equal means, paired arrivals, known variance.
 *
 *   V = 2σ²/t, d = mean b − mean a;   ln Λ = ½ ln(V/(V+τ²)) + τ²d²/(2V(V+τ²))
 *
 * Source: Johari, Koomen, Pekelis & Walsh, "Always valid inference" (Operations Research 2022).
 */
export const msprt = { initial: startMsprt, step: stepMsprt };

function startMsprt({ sigma2, tau2 }: { readonly sigma2: number; readonly tau2: number }): MsprtState {
  checkPositiveParameter(sigma2, 'sigma2');
  checkPositiveParameter(tau2, 'tau2');
  return { sigma2, tau2, t: 0, sumDiff: 0, log_lambda: 0, p_always_valid: 1 };
}

/** One pair: the p-value is a minimum over every t, so pairs are folded one by one. */
function stepMsprt(state: MsprtState, a: number, b: number): MsprtState {
  const { sigma2, tau2 } = state;
  const t = state.t + 1;
  const sumDiff = state.sumDiff + (b - a);
  const d = sumDiff / t;
  const v = (2 * sigma2) / t;
  const logLambda = 0.5 * Math.log(v / (v + tau2)) + (tau2 * d * d) / (2 * v * (v + tau2));
  const p = Math.min(state.p_always_valid, Math.exp(-logLambda));
  return { sigma2, tau2, t, sumDiff, log_lambda: logLambda, p_always_valid: p };
}

/** The test over rows of pairs, reported after each of the first `reportAt` pairs. */
export function msprtPairs(
  a: Numbers,
  b: Numbers,
  { sigma2, tau2, reportAt }: { readonly sigma2: number; readonly tau2: number; readonly reportAt: Numbers },
): { log_lambda: number[]; p_always_valid: number[] } {
  checkLengths(a, b);
  let state = msprt.initial({ sigma2, tau2 });
  checkNotEmpty(a, 'a');
  checkReportAt(reportAt, a.length);
  checkFinite(a, 'a');
  checkFinite(b, 'b');
  const states: MsprtState[] = [];
  for (let i = 0; i < a.length; i++) {
    state = msprt.step(state, a[i]!, b[i]!);
    states.push(state);
  }
  const reports = Array.from(reportAt, (at) => states[at - 1]!);
  return {
    log_lambda: reports.map((report) => report.log_lambda),
    p_always_valid: reports.map((report) => report.p_always_valid),
  };
}
