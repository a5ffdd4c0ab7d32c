import type { ArmTallyRow } from '../../db/tallies.ts';
import type { Arm } from '../../db/schema.ts';
import type { Answer, ShadowScore } from '../scoring/answer.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import { addScore, emptyTally, latencyBin, type ArmTally } from './arm-tally.ts';

/** What every answer adds up to, per model, epoch, arm and version, since the last `take`. */
export class TallyBook {
  readonly #nodeId: string;
  readonly #nowMicros: () => number;
  #tallies = new Map<string, ArmTally>();
  #flush: number;

  /** @param startedAt µs; flushes count on from it, so that a restarted node never uses a number twice */
  constructor({ nodeId, startedAt, nowMicros }: { nodeId: string; startedAt: number; nowMicros: () => number }) {
    this.#nodeId = nodeId;
    this.#nowMicros = nowMicros;
    this.#flush = Math.floor(startedAt / 1000);
  }

  answered(entry: RouteEntry, answers: readonly Answer[], latencyMs: number): void {
    const slow = latencyMs > entry.contract.latencyBudgetMsP99 ? 1 : 0;
    const bin = latencyBin(latencyMs);
    for (const answer of answers) {
      // asked for by a tester: no evidence
      if (answer.arm === 'override') continue;
      const tally = this.#tally(entry.route.model, answer.epoch, answer.arm, answer.armVersion);
      tally.requests++;
      tally.units.add(answer.instance.unit);
      tally.slow += slow;
      tally.latencyHistogram[bin]!++;
      if (answer.error === null) {
        addScore(tally, answer.score, answer.label);
      } else {
        tally.errors++;
        tally.fallbacks++;
      }
    }
  }

  shadowScored(entry: RouteEntry, scores: readonly ShadowScore[]): void {
    for (const { answer, version, score, label, error } of scores) {
      if (answer.arm === 'override') continue;
      const tally = this.#tally(entry.route.model, answer.epoch, 'shadow', version);
      tally.requests++;
      tally.units.add(answer.instance.unit);
      if (error !== null) {
        tally.errors++;
        continue;
      }
      addScore(tally, score, label);
      if (answer.error !== null) continue;
      const difference = score - answer.score;
      tally.pairs++;
      tally.flips += label === answer.label ? 0 : 1;
      tally.differenceSum += difference;
      tally.differenceSumSq += difference * difference;
    }
  }

  /** The rows of one flush; empty when nothing was answered. */
  take(): ArmTallyRow[] {
    if (this.#tallies.size === 0) return [];
    const tallies = this.#tallies;
    this.#tallies = new Map();
    const flush = this.#flush++;
    const flushedAt = this.#nowMicros();
    return [...tallies.values()].map((tally) => rowOf(tally, { nodeId: this.#nodeId, flush, flushedAt }));
  }

  #tally(model: string, epoch: number, arm: Arm, version: number): ArmTally {
    const key = `${model} ${epoch} ${arm} ${version}`;
    let tally = this.#tallies.get(key);
    if (!tally) {
      tally = emptyTally({ model, epoch, arm, version, firstAt: this.#nowMicros() });
      this.#tallies.set(key, tally);
    }
    return tally;
  }
}

function rowOf(
  tally: ArmTally,
  { nodeId, flush, flushedAt }: { nodeId: string; flush: number; flushedAt: number },
): ArmTallyRow {
  return {
    node_id: nodeId,
    model: tally.model,
    epoch: tally.epoch,
    arm: tally.arm,
    version: tally.version,
    flush,
    flushed_at: flushedAt,
    first_at: tally.firstAt,
    requests: tally.requests,
    units: tally.units.size,
    errors: tally.errors,
    fallbacks: tally.fallbacks,
    slow: tally.slow,
    positives: tally.positives,
    score_sum: tally.scoreSum,
    score_sum_sq: tally.scoreSumSq,
    score_histogram: [...tally.scoreHistogram],
    latency_histogram: [...tally.latencyHistogram],
    pairs: tally.pairs,
    flips: tally.flips,
    difference_sum: tally.differenceSum,
    difference_sum_sq: tally.differenceSumSq,
  };
}
