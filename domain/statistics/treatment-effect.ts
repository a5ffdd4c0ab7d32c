import {
  type Moments,
  type SequenceInterval,
  type SequenceOptions,
  type ValueSums,
  NO_MOMENTS,
  asymptoticInterval,
  asymptoticLowerBound,
  asymptoticRho,
  asymptoticUpperBound,
  mergeMoments,
  momentsOf,
} from './confidence-sequence.ts';
import {
  type Numbers,
  checkAnyRow,
  checkBinary,
  checkCountParameter,
  checkFinite,
  checkLengths,
  checkReportAt,
} from './input-checks.ts';
import { StatisticError } from './statistic-error.ts';

/** What both arms answered since the last look, and the canary's share of the traffic meanwhile, in (0, 1). */
export interface AteBlock {
  readonly weight: number;
  readonly champion: ValueSums;
  readonly canary: ValueSums;
}

export interface AteState {
  /** of the inverse-propensity contrasts φ, whose mean is the effect */
  readonly phi: Moments;
  /** all outcomes of both arms, for the centring m of later blocks */
  readonly outcomes: { readonly n: number; readonly sum: number };
}

export function ateInitial(): AteState {
  return { phi: NO_MOMENTS, outcomes: { n: 0, sum: 0 } };
}

/**
 * Folds one block into the canary-minus-champion effect under randomised traffic.
 *
 *   φ = Z(Y − m)/π − (1 − Z)(Y − m)/(1 − π)      Z: served by the canary, π: its weight in force, m: mean of all earlier Y
 *
 * m comes from earlier blocks only (0 at first), so each φ stays unbiased given the past whatever m is; centring only takes
 * variance out. Changing weights between blocks is allowed.
 * @throws StatisticError out_of_range for a weight that leaves an arm without traffic; non_finite for sums
 */
export function ateStep(state: AteState, { weight, champion, canary }: AteBlock): AteState {
  if (!(weight > 0 && weight < 1)) {
    throw new StatisticError('out_of_range', `the canary weight must lie strictly between 0 and 1, got ${weight}`);
  }
  checkSums(champion, 'champion');
  checkSums(canary, 'canary');
  if (champion.n + canary.n === 0) return state;
  const { n, sum: earlier } = state.outcomes;
  const centre = n === 0 ? 0 : earlier / n;
  const up = centred(canary, centre);
  const down = centred(champion, centre);
  const phi = momentsOf({
    n: champion.n + canary.n,
    sum: up.sum / weight - down.sum / (1 - weight),
    sumSq: up.sumSq / (weight * weight) + down.sumSq / ((1 - weight) * (1 - weight)),
  });
  return {
    phi: mergeMoments(state.phi, phi),
    outcomes: { n: n + champion.n + canary.n, sum: earlier + champion.sum + canary.sum },
  };
}

function checkSums({ n, sum: total, sumSq }: ValueSums, arm: string): void {
  checkCountParameter(n, `n of the ${arm}`);
  if (!Number.isFinite(total) || !Number.isFinite(sumSq)) {
    throw new StatisticError('non_finite', `the ${arm} sums ${total} and ${sumSq}`);
  }
}

function centred({ n, sum: total, sumSq }: ValueSums, centre: number): { sum: number; sumSq: number } {
  return { sum: total - n * centre, sumSq: Math.max(0, sumSq - 2 * centre * total + n * centre * centre) };
}

/** Confidence sequence of the effect, canary − champion. @throws StatisticError empty before the first outcome */
export function ateInterval(state: AteState, options: SequenceOptions): SequenceInterval {
  return asymptoticInterval(state.phi, options);
}

export function ateLowerBound(state: AteState, options: SequenceOptions): number {
  return asymptoticLowerBound(state.phi, options);
}

export function ateUpperBound(state: AteState, options: SequenceOptions): number {
  return asymptoticUpperBound(state.phi, options);
}

/** The effect over rows, each a block of its own. */
export function asymptoticCsAte(
  z: Numbers,
  y: Numbers,
  propensity: Numbers,
  { alpha, tStar, reportAt }: SequenceOptions & { readonly reportAt: Numbers },
): { rho: number; effect_lower_upper: [number, number, number][] } {
  checkLengths(z, y, propensity);
  const options = { alpha, tStar };
  const rho = asymptoticRho(options);
  checkAnyRow(z, undefined);
  checkReportAt(reportAt, z.length);
  checkFinite(z, 'z');
  checkFinite(y, 'y');
  checkFinite(propensity, 'propensity');
  checkBinary(z, 'z');
  const none: ValueSums = { n: 0, sum: 0, sumSq: 0 };
  const prefixes = new Map<number, AteState>();
  const wanted = new Set(Array.from(reportAt));
  let state = ateInitial();
  for (let i = 0; i < z.length; i++) {
    const one: ValueSums = { n: 1, sum: y[i]!, sumSq: y[i]! * y[i]! };
    const treated = z[i] === 1;
    state = ateStep(state, {
      weight: propensity[i]!,
      champion: treated ? none : one,
      canary: treated ? one : none,
    });
    if (wanted.has(i + 1)) prefixes.set(i + 1, state);
  }
  return {
    rho,
    effect_lower_upper: Array.from(reportAt, (at) => {
      const { estimate, lower, upper } = ateInterval(prefixes.get(at)!, options);
      return [estimate, lower, upper];
    }),
  };
}
