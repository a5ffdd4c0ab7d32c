import type { LoggedPrediction } from '../../db/predictions.ts';
import { BUCKETS, bucketOf } from '../../domain/rollout/assignment.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import type { Answer, ShadowScore } from '../scoring/answer.ts';

const SAMPLING_SALT = 'prediction-log';

/**
 * The weight with which an answer is logged, null when it is not. Canary answers, what a tester asked for and everything that did
 * not go as it should are always logged; of the rest a sample, by a hash of the id, so that all who ask agree.
 */
export function sampleWeight({ arm, error, instance }: Answer, rate: number): number | null {
  if (arm !== 'champion' || error !== null || rate >= 1) return 1;
  const sampled = Math.round(rate * BUCKETS);
  return sampled > 0 && bucketOf(SAMPLING_SALT, instance.predictionId) < sampled ? BUCKETS / sampled : null;
}

export function answerRecord(
  entry: RouteEntry,
  answer: Answer,
  weight: number,
  { answeredAt, latencyMs, traceId }: { answeredAt: number; latencyMs: number; traceId: string | null },
): LoggedPrediction {
  const { instance, served } = answer;
  return {
    predictionId: instance.predictionId,
    model: entry.route.model,
    version: answer.version,
    arm: answer.arm,
    rung: answer.rung,
    epoch: answer.epoch,
    unit: instance.unit,
    asOf: instance.asOf,
    answeredAt,
    score: answer.score,
    sampleWeight: weight,
    features: nullable(answer.features),
    request: instance.request,
    latencyMicros: Math.round(latencyMs * 1000),
    error: answer.error,
    known: answer.known,
    reason: answer.reason,
    statuses: Array.from(answer.statuses),
    servedModel: served.model === entry.route.model ? null : served.model,
    redacted: [],
    traceId,
  };
}

/** A shadow that failed has no score: it is in the tallies, not in the log. */
export function shadowRecord(
  entry: RouteEntry,
  { answer, version, score, features, statuses }: ShadowScore,
  answeredAt: number,
): LoggedPrediction {
  const { instance } = answer;
  return {
    predictionId: instance.predictionId,
    model: entry.route.model,
    version,
    arm: 'shadow',
    rung: 'shadow',
    epoch: answer.epoch,
    unit: instance.unit,
    asOf: instance.asOf,
    answeredAt,
    score,
    sampleWeight: 1,
    features: nullable(features),
    request: instance.request,
    latencyMicros: 0,
    error: null,
    // shadows are not held against the log: nobody acts on what they say
    known: null,
    reason: null,
    statuses: Array.from(statuses),
    servedModel: null,
    redacted: [],
    traceId: null,
  };
}

function nullable(features: Float64Array): (number | null)[] {
  return Array.from(features, (value) => (Number.isFinite(value) ? value : null));
}
