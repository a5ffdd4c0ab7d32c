import {
  ateInitial,
  ateStep,
  bernoulliEProcess,
  mergeMoments,
  momentsOf,
  NO_MOMENTS,
} from '../statistics/sequential.ts';
import type { AteState, BernoulliEProcessState, Moments, ValueSums } from '../statistics/sequential.ts';
import { mergeShadows, mergeTallies, NO_SHADOW, NO_TALLY } from './evidence.ts';
import type { AnalysisPhase, ArmTally, EvidenceBlock, ShadowTally } from './evidence.ts';
import type { GuardrailMetric, RolloutPolicy } from './policy.ts';

/** What is known about one metric from all canary stages together. */
export interface MetricState {
  /** The effect canary − champion, each block weighted by the propensity in force. */
  readonly effect: AteState;
  /** Σ y² over both arms, for the pooled variance. */
  readonly sumSq: number;
  /** Σ n·(1/π + 1/(1 − π)): times the variance of one outcome it is the squared deviation that the effect must show. */
  readonly spread: number;
  readonly canaryRequests: number;
  /** What the champion did beside the canary: the reference of the watch. */
  readonly champion: Moments;
  /** Null for a metric that is not a share. */
  readonly separation: BernoulliEProcessState | null;
}

/** Counts since the phase began, of the blocks under the weight that the phase stands for. */
export interface PhaseCounts {
  readonly phase: AnalysisPhase | null;
  readonly canaryRequests: number;
  readonly unitsChampion: number;
  readonly unitsCanary: number;
}

/** Everything an analysis needs of the past: small, plain JSON, and enough to go on from. */
export interface AnalysisState {
  readonly counts: PhaseCounts;
  readonly metrics: Readonly<Record<GuardrailMetric, MetricState>>;
  readonly shadow: ShadowTally;
  /** What the version did as the champion. */
  readonly watched: ArmTally;
}

export const INITIAL_ANALYSIS: AnalysisState = {
  counts: { phase: null, canaryRequests: 0, unitsChampion: 0, unitsCanary: 0 },
  metrics: {
    errors: initialMetric('errors'),
    slow: initialMetric('slow'),
    positives: initialMetric('positives'),
    score: initialMetric('score'),
    loss: initialMetric('loss'),
  },
  shadow: NO_SHADOW,
  watched: NO_TALLY,
};

function initialMetric(metric: GuardrailMetric): MetricState {
  return {
    effect: ateInitial(),
    sumSq: 0,
    spread: 0,
    canaryRequests: 0,
    champion: NO_MOMENTS,
    separation: isShare(metric) ? bernoulliEProcess.initial() : null,
  };
}

/** Adds one block to what is known. O(1): no earlier block is looked at again. */
export function foldEvidence(
  policy: RolloutPolicy,
  state: AnalysisState,
  block: EvidenceBlock,
  phase: AnalysisPhase,
): AnalysisState {
  const fold = (metric: GuardrailMetric) => foldMetric(state.metrics[metric], metric, block);
  return {
    counts: foldCounts(policy, state.counts, block, phase),
    metrics: {
      errors: fold('errors'),
      slow: fold('slow'),
      positives: fold('positives'),
      score: fold('score'),
      loss: fold('loss'),
    },
    shadow: mergeShadows(state.shadow, block.shadow),
    // At full weight the version is the champion, under whichever name its nodes counted.
    watched:
      block.weight === 1 ? mergeTallies(state.watched, mergeTallies(block.champion, block.canary)) : state.watched,
  };
}

function foldCounts(
  policy: RolloutPolicy,
  counts: PhaseCounts,
  block: EvidenceBlock,
  phase: AnalysisPhase,
): PhaseCounts {
  const since = counts.phase === phase ? counts : { phase, canaryRequests: 0, unitsChampion: 0, unitsCanary: 0 };
  // Late rows of the weight before would look like a wrong split under this one.
  if (block.weight !== weightOf(policy, phase)) return since;
  return {
    phase,
    canaryRequests: since.canaryRequests + block.canary.requests,
    unitsChampion: since.unitsChampion + block.unitsChampion,
    unitsCanary: since.unitsCanary + block.unitsCanary,
  };
}

function foldMetric(state: MetricState, metric: GuardrailMetric, block: EvidenceBlock): MetricState {
  const weight = metric === 'loss' ? (block.labelWeight ?? block.weight) : block.weight;
  const champion = sumsOf(block.champion, metric);
  const canary = sumsOf(block.canary, metric);
  const total = champion.n + canary.n;
  // Without a share for each arm there is nothing to compare: shadow and watch.
  if (total === 0 || weight <= 0 || weight >= 1) return state;
  return {
    effect: ateStep(state.effect, { weight, champion, canary }),
    sumSq: state.sumSq + champion.sumSq + canary.sumSq,
    spread: state.spread + total * (1 / weight + 1 / (1 - weight)),
    canaryRequests: state.canaryRequests + canary.n,
    champion: mergeMoments(state.champion, momentsOf(champion)),
    separation:
      state.separation === null
        ? null
        : bernoulliEProcess.step(state.separation, {
            champion: { n: champion.n, successes: champion.sum },
            canary: { n: canary.n, successes: canary.sum },
          }),
  };
}

/** The canary's share that a phase stands for. */
export function weightOf(policy: RolloutPolicy, phase: AnalysisPhase): number {
  switch (phase) {
    case 'shadow':
      return 0;
    case 'watch':
      return 1;
    default:
      return (policy.stages[Number(phase.slice('stage:'.length))]?.weightPercent ?? 100) / 100;
  }
}

/** How many requests a metric is over, and its sums: an indicator's square is itself. */
export function sumsOf(tally: ArmTally, metric: GuardrailMetric): ValueSums {
  switch (metric) {
    case 'errors':
    case 'slow':
    case 'positives':
      return { n: tally.requests, sum: tally[metric], sumSq: tally[metric] };
    case 'score':
      // a request that ended in an error has no score of its own arm
      return { n: tally.requests - tally.errors, sum: tally.scoreSum, sumSq: tally.scoreSumSq };
    case 'loss':
      return { n: tally.labelled, sum: tally.lossSum, sumSq: tally.lossSumSq };
  }
}

/**
 * Moments of the effect with at least the variance that both arms' pooled outcomes imply. While a rare event has not yet hit
 * the canary, its contrasts alone would have almost no variance, and an interval that narrow would promote on luck.
 */
export function effectMoments({ effect, sumSq, spread }: MetricState): Moments {
  const { n, sum } = effect.outcomes;
  if (n === 0) return effect.phi;
  const mean = sum / n;
  return { ...effect.phi, m2: Math.max(effect.phi.m2, Math.max(0, sumSq / n - mean * mean) * spread) };
}

export function isShare(metric: GuardrailMetric): boolean {
  return metric !== 'loss' && metric !== 'score';
}
