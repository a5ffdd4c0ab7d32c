import type { Arm } from '../../db/schema.ts';

/** Bins of equal width over scores in [0, 1]; a score outside counts in the nearest one. */
export const SCORE_BINS = 50;

/**
 * Latency bins on a log scale, four to a doubling: bin i holds (0.1 ms · 2^((i−1)/4), 0.1 ms · 2^(i/4)], bin 0 everything
 * up to 0.1 ms, the last one everything beyond 0.1 ms · 2^(62/4) ≈ 4.6 s. A quantile read from it is at most 19 % too high.
 */
export const LATENCY_BINS = 64;
const LATENCY_FLOOR_MS = 0.1;
const BINS_PER_DOUBLING = 4;

export function scoreBin(score: number): number {
  return Math.min(SCORE_BINS - 1, Math.max(0, Math.floor(score * SCORE_BINS)));
}

export function latencyBin(latencyMs: number): number {
  if (latencyMs <= LATENCY_FLOOR_MS) return 0;
  return Math.min(LATENCY_BINS - 1, Math.ceil(Math.log2(latencyMs / LATENCY_FLOOR_MS) * BINS_PER_DOUBLING));
}

/** The sufficient statistics of one arm at one epoch since the last flush, as they go into `arm_tally`. */
export interface ArmTally {
  readonly model: string;
  readonly epoch: number;
  readonly arm: Arm;
  /** The version the arm stands for, whoever answered in the end. */
  readonly version: number;
  readonly firstAt: number;
  /** Instances that were assigned to the arm and answered. */
  requests: number;
  /** Distinct units among them, within this flush. */
  readonly units: Set<string>;
  /** Instances the arm's own version failed to answer. */
  errors: number;
  /** Those of them that a lower rung answered. */
  fallbacks: number;
  /** Instances in requests that took longer than the contract's latency budget. */
  slow: number;
  /** Of the answers of the arm's own version, those with label 1; the score fields are over them too. */
  positives: number;
  scoreSum: number;
  scoreSumSq: number;
  readonly scoreHistogram: Int32Array;
  readonly latencyHistogram: Int32Array;
  /** Shadow only: pairs with the answer to the same instance, and its difference (shadow − answer). */
  pairs: number;
  flips: number;
  differenceSum: number;
  differenceSumSq: number;
}

export function emptyTally(key: Pick<ArmTally, 'model' | 'epoch' | 'arm' | 'version' | 'firstAt'>): ArmTally {
  return {
    ...key,
    requests: 0,
    units: new Set(),
    errors: 0,
    fallbacks: 0,
    slow: 0,
    positives: 0,
    scoreSum: 0,
    scoreSumSq: 0,
    scoreHistogram: new Int32Array(SCORE_BINS),
    latencyHistogram: new Int32Array(LATENCY_BINS),
    pairs: 0,
    flips: 0,
    differenceSum: 0,
    differenceSumSq: 0,
  };
}

export function addScore(tally: ArmTally, score: number, label: 0 | 1): void {
  tally.positives += label;
  tally.scoreSum += score;
  tally.scoreSumSq += score * score;
  tally.scoreHistogram[scoreBin(score)]!++;
}
