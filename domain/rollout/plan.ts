import { asymptoticUpperBound } from '../statistics/sequential.ts';
import { isShare } from './analysis-state.ts';
import { count, percent } from './finding-text.ts';
import type { Guardrail, GuardrailMetric, RolloutPolicy } from './policy.ts';

/** Chance with which a plan expects a stage to decide in the time it names. */
const POWER_Z = 1.2816; // Φ⁻¹(0.9)

/** What the model's traffic is like now. Shares in [0, 1]. */
export interface TrafficForecast {
  readonly requestsPerSecond: number;
  readonly errorRate: number;
  readonly slowRate: number;
  readonly positiveRate: number;
  /** Of the scores, in [0, 0.5]; without it the largest there can be is planned with. */
  readonly scoreStandardDeviation?: number;
  /** Mean Brier loss and its standard deviation, where outcomes arrive; null where they do not. */
  readonly loss: { readonly mean: number; readonly standardDeviation: number; readonly labelledShare: number } | null;
}

/** What one stage can be expected to do. Durations in milliseconds. */
export interface StagePlan {
  readonly stage: number;
  readonly weightPercent: number;
  /** Of the canary, from the stage's start to its deadline. */
  readonly expectedCanaryRequests: number;
  /** From the stage's start until a version as good as the champion is shown to be, nine times in ten; null: not by the deadline. */
  readonly decidesAfterMs: number | null;
  /** The required guardrail that takes longest. */
  readonly slowestMetric: GuardrailMetric | null;
  /** Per guardrail: the harm that the evidence at the deadline would show to be harm, nine times in ten. */
  readonly smallestDetectableHarm: Readonly<Partial<Record<GuardrailMetric, number>>>;
  readonly sentence: string;
}

export interface RolloutPlan {
  readonly stages: readonly StagePlan[];
  /** False when a stage is not expected to decide: the rollout would end by its deadline policy. */
  readonly canDecide: boolean;
  readonly shortestMs: number | null;
  readonly sentences: readonly string[];
}

/**
 * What a policy can find out with this traffic, before anything starts. Evidence adds up over the stages, so each one starts
 * with what the earlier ones, as long as they are expected to take, have shown.
 *
 * For a version equal to the champion the effect after n requests has variance σ²·Σ(1/π + 1/(1−π))/n², and the guardrail is
 * proven when its one-sided sequence, moved by the normal quantile of the wanted power, ends inside the margin.
 */
export function planRollout(policy: RolloutPolicy, traffic: TrafficForecast): RolloutPlan {
  const stages: StagePlan[] = [];
  let sofar: Gathered = { requests: 0, spread: 0 };
  let rampMs = 0;
  for (const [index, { weightPercent, minDurationMs, maxDurationMs, minCanaryRequests }] of policy.stages.entries()) {
    if (weightPercent >= 100) continue;
    const weight = weightPercent / 100;
    const canaryPerSecond = traffic.requestsPerSecond * weight;
    const after = (ms: number): Gathered => {
      const requests = (traffic.requestsPerSecond * ms) / 1000;
      return { requests: sofar.requests + requests, spread: sofar.spread + requests * (1 / weight + 1 / (1 - weight)) };
    };
    const earliest = Math.max(
      minDurationMs,
      canaryPerSecond === 0 ? Infinity : (1000 * minCanaryRequests) / canaryPerSecond,
    );
    const times = policy.guardrails
      .filter(({ required }) => required)
      .map((guardrail) => ({
        metric: guardrail.metric,
        ms: provenAfter(policy, guardrail, traffic, after, earliest, maxDurationMs),
      }));
    const slowest = times.reduce<(typeof times)[number] | null>(
      (worst, each) => (worst === null || each.ms > worst.ms ? each : worst),
      null,
    );
    const ms = Math.max(earliest, slowest?.ms ?? 0);
    const decidesAfterMs = ms <= maxDurationMs ? Math.ceil(ms) : null;
    const atDeadline = after(maxDurationMs);
    const plan = {
      stage: index,
      weightPercent,
      expectedCanaryRequests: Math.floor((canaryPerSecond * maxDurationMs) / 1000),
      decidesAfterMs,
      slowestMetric: slowest?.metric ?? null,
      smallestDetectableHarm: Object.fromEntries(
        policy.guardrails.map((guardrail) => [guardrail.metric, detectable(policy, guardrail, traffic, atDeadline)]),
      ),
    };
    stages.push({ ...plan, sentence: sentenceOf(plan, maxDurationMs) });
    sofar = after(decidesAfterMs ?? maxDurationMs);
    rampMs += decidesAfterMs ?? maxDurationMs;
  }
  const canDecide = stages.every(({ decidesAfterMs }) => decidesAfterMs !== null);
  const shadowMs =
    policy.shadow === null
      ? 0
      : Math.max(policy.shadow.minDurationMs, (1000 * policy.shadow.minRequests) / traffic.requestsPerSecond);
  const shortestMs = canDecide ? Math.ceil(shadowMs + Math.max(rampMs, policy.minBakeMs)) : null;
  return {
    stages,
    canDecide,
    shortestMs,
    sentences: [...stages.map(({ sentence }) => sentence), summaryOf(policy, shortestMs)],
  };
}

interface Gathered {
  readonly requests: number;
  /** Σ n·(1/π + 1/(1 − π)). */
  readonly spread: number;
}

/** Milliseconds into the stage after which the guardrail is proven, to a millisecond; Infinity when not by `maxMs`. */
function provenAfter(
  policy: RolloutPolicy,
  guardrail: Guardrail,
  traffic: TrafficForecast,
  after: (ms: number) => Gathered,
  minMs: number,
  maxMs: number,
): number {
  const isProven = (ms: number) =>
    boundOf(policy, guardrail.metric, traffic, after(ms), policy.alphaAdvance) < guardrail.margin;
  if (minMs > maxMs || !isProven(maxMs)) return Infinity;
  let [low, high] = [minMs, maxMs];
  if (isProven(low)) return low;
  while (high - low > 1) {
    const middle = (low + high) / 2;
    if (isProven(middle)) high = middle;
    else low = middle;
  }
  return high;
}

function detectable(
  policy: RolloutPolicy,
  { metric }: Guardrail,
  traffic: TrafficForecast,
  gathered: Gathered,
): number {
  return boundOf(policy, metric, traffic, gathered, policy.alphaRollback / policy.guardrails.length);
}

/** How far the bound of a true effect of zero lies from zero, nine times in ten at most; Infinity without data. */
function boundOf(
  policy: RolloutPolicy,
  metric: GuardrailMetric,
  traffic: TrafficForecast,
  gathered: Gathered,
  alpha: number,
): number {
  const labelled = metric === 'loss' ? (traffic.loss?.labelledShare ?? 0) : 1;
  const n = gathered.requests * labelled;
  if (n < 1) return Infinity;
  const m2 = varianceOf(metric, traffic) * gathered.spread * labelled;
  return (
    asymptoticUpperBound({ n, mean: 0, m2 }, { alpha, tStar: policy.targetSampleSize }) + (POWER_Z * Math.sqrt(m2)) / n
  );
}

function varianceOf(
  metric: GuardrailMetric,
  { errorRate, slowRate, positiveRate, scoreStandardDeviation = 0.5, loss }: TrafficForecast,
): number {
  switch (metric) {
    case 'errors':
      return errorRate * (1 - errorRate);
    case 'slow':
      return slowRate * (1 - slowRate);
    case 'positives':
      return positiveRate * (1 - positiveRate);
    case 'score':
      return scoreStandardDeviation ** 2;
    case 'loss':
      return (loss?.standardDeviation ?? 0) ** 2;
  }
}

function sentenceOf(plan: Omit<StagePlan, 'sentence'>, maxDurationMs: number): string {
  const { stage, weightPercent, expectedCanaryRequests, decidesAfterMs, slowestMetric, smallestDetectableHarm } = plan;
  const harms = Object.entries(smallestDetectableHarm).map(
    ([metric, harm]) =>
      `${metric} ${!Number.isFinite(harm) ? 'unknown' : isShare(metric as GuardrailMetric) ? percent(harm) : harm.toFixed(4)}`,
  );
  const outcome =
    decidesAfterMs === null
      ? `a sound version is not shown to be sound within ${durationText(maxDurationMs)} (${slowestMetric ?? 'no guardrail'} takes longest)`
      : `a sound version advances after ${durationText(decidesAfterMs)}`;
  return `Stage ${stage + 1} (${weightPercent} %): ${outcome}; by its deadline the canary has ${count(expectedCanaryRequests)} requests and harm shows from ${harms.join(', ')}.`;
}

function summaryOf(policy: RolloutPolicy, shortestMs: number | null): string {
  const budget = `a harmless version is rolled back with probability at most ${policy.alphaRollback}, a harmful one is let through each stage with at most ${policy.alphaAdvance}`;
  return shortestMs === null
    ? `With this traffic the policy cannot decide: lengthen a stage, widen a margin or raise a weight. Otherwise each such stage ends in "${policy.onDeadline}"; ${budget}.`
    : `About ${durationText(shortestMs)} to the promotion, approvals not counted; ${budget}.`;
}

function durationText(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 120) return `${Number(seconds.toPrecision(3))} s`;
  const minutes = seconds / 60;
  return minutes < 120 ? `${Number(minutes.toPrecision(3))} min` : `${Number((minutes / 60).toPrecision(3))} h`;
}
