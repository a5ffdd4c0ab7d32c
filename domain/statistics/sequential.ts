/**
 * Statistics that may be looked at as often as one likes: the error bound holds at every look together, not at each alone.
 *
 * Each method comes twice: as a pure step on a small JSON state, which a rollout folds over the counts of each second, and as
 * a batch over rows, which is the form of the golden cases. The batch form calls the step.
 */
import {
  type Numbers,
  checkAnyRow,
  checkBinary,
  checkCountParameter,
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

// ---- Bernoulli e-process: did the rates of the arms part?

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

// ---- Asymptotic confidence sequences: how large is the mean, or the difference of the arms?

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
export function asymptoticRhoOneSided({ alpha, tStar }: SequenceOptions): number {
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

// ---- Sample-ratio mismatch: does the traffic split as configured?

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
