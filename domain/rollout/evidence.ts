import type { Micros } from '../time.ts';
import type { GuardrailMetric } from './policy.ts';

/** Sufficient statistics of the requests one arm answered. Loss is over the `labelled` ones, scores over all that were answered. */
export interface ArmTally {
  readonly requests: number;
  readonly errors: number;
  readonly slow: number;
  readonly positives: number;
  readonly scoreSum: number;
  readonly scoreSumSq: number;
  readonly labelled: number;
  readonly lossSum: number;
  readonly lossSumSq: number;
}

/** Requests answered by the champion and, in its shadow, by the candidate: the difference is candidate − champion. */
export interface ShadowTally {
  readonly pairs: number;
  readonly flips: number;
  readonly differenceSum: number;
  readonly differenceSumSq: number;
  readonly errors: number;
}

/** What happened in [fromAt, toAt) under one traffic weight. A look covers one or more blocks. */
export interface EvidenceBlock {
  readonly fromAt: Micros;
  readonly toAt: Micros;
  /** The canary's share of the traffic in force, in [0, 1]. */
  readonly weight: number;
  /** The share in force when the labelled requests were assigned, where outcomes arrive later; `weight` when absent. */
  readonly labelWeight?: number;
  readonly champion: ArmTally;
  readonly canary: ArmTally;
  readonly shadow: ShadowTally;
  /** Assignment units (sticky users or entities) seen per arm: what the sample-ratio check counts. */
  readonly unitsChampion: number;
  readonly unitsCanary: number;
}

/** Which question the evidence is asked. A look made for one phase never moves another one forward. */
export type AnalysisPhase = 'shadow' | 'watch' | `stage:${number}`;

/** `void`: routing or data cannot be trusted, so nothing is concluded. */
export type Verdict = 'advance' | 'rollback' | 'hold' | 'void';

export type FindingMetric = GuardrailMetric | 'sampleRatio' | 'flips' | 'scoreShift' | 'shadowErrors' | 'requests';

/** One look at one metric, with the numbers it rests on. Bounds are null where there is nothing to bound yet. */
export interface Finding {
  readonly metric: FindingMetric;
  readonly estimate: number | null;
  readonly lower: number | null;
  readonly upper: number | null;
  readonly margin: number | null;
  readonly n: number;
  readonly verdict: Verdict;
  readonly sentence: string;
}

/** What the analyser concludes from everything seen so far. */
export interface Analysis {
  readonly phase: AnalysisPhase;
  readonly verdict: Verdict;
  readonly findings: readonly Finding[];
}

export const NO_TALLY: ArmTally = {
  requests: 0,
  errors: 0,
  slow: 0,
  positives: 0,
  scoreSum: 0,
  scoreSumSq: 0,
  labelled: 0,
  lossSum: 0,
  lossSumSq: 0,
};

export const NO_SHADOW: ShadowTally = { pairs: 0, flips: 0, differenceSum: 0, differenceSumSq: 0, errors: 0 };

/** Associative and commutative with `NO_TALLY` as the neutral element: partial tallies of nodes and seconds may be added in any order. */
export function mergeTallies(a: ArmTally, b: ArmTally): ArmTally {
  return {
    requests: a.requests + b.requests,
    errors: a.errors + b.errors,
    slow: a.slow + b.slow,
    positives: a.positives + b.positives,
    scoreSum: a.scoreSum + b.scoreSum,
    scoreSumSq: a.scoreSumSq + b.scoreSumSq,
    labelled: a.labelled + b.labelled,
    lossSum: a.lossSum + b.lossSum,
    lossSumSq: a.lossSumSq + b.lossSumSq,
  };
}

export function mergeShadows(a: ShadowTally, b: ShadowTally): ShadowTally {
  return {
    pairs: a.pairs + b.pairs,
    flips: a.flips + b.flips,
    differenceSum: a.differenceSum + b.differenceSum,
    differenceSumSq: a.differenceSumSq + b.differenceSumSq,
    errors: a.errors + b.errors,
  };
}
