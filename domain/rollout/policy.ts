/**
 * What a guardrail watches, per request: `errors` answered with an error; `slow` answered later than the champion's frozen
 * latency threshold; `positives` answered with label 1 (prediction shift); `loss` Brier loss of the requests whose outcome is known.
 */
export const GUARDRAIL_METRICS = ['errors', 'slow', 'positives', 'loss'] as const;
export type GuardrailMetric = (typeof GUARDRAIL_METRICS)[number];

export interface Guardrail {
  readonly metric: GuardrailMetric;
  /** The largest harm that is still acceptable: a difference canary − champion of shares (or of mean loss), in (0, 1). */
  readonly margin: number;
  /** `increase`: only more is harm. `either`: a move in either direction is harm. */
  readonly direction: 'increase' | 'either';
  /** Must be proven to stay inside the margin before a stage advances. One that is not required can only roll back. */
  readonly required: boolean;
}

/** N of M distinct people with a role, before a deadline. */
export interface ApprovalRule {
  readonly role: string;
  readonly count: number;
  readonly expiresMs: number;
}

/** The same requests answered by both versions, only the champion's answer is returned. */
export interface ShadowStage {
  readonly minRequests: number;
  readonly minDurationMs: number;
  readonly maxDurationMs: number;
  /** Largest share of requests whose label flips between the versions, [0, 1]. */
  readonly maxFlipRate?: number;
  /** Largest share of shadow requests that end in an error, [0, 1]. */
  readonly maxErrorRate: number;
  /** Largest absolute mean difference of the scores. */
  readonly maxMeanScoreShift?: number;
}

/** A share of the traffic. A last stage of 100 is the promotion itself: of it only the approval counts, the watch follows. */
export interface RampStage {
  readonly weightPercent: number;
  readonly minDurationMs: number;
  readonly maxDurationMs: number;
  readonly minCanaryRequests: number;
  /** Must be given before this stage takes its weight. */
  readonly approval?: ApprovalRule;
}

export const DEADLINE_POLICIES = ['hold', 'rollback', 'askHuman'] as const;
/**
 * What a deadline does when the evidence has not decided: `hold` keeps the weight and goes on looking, `rollback` ends the
 * rollout, `askHuman` pauses it until a command. `maxRolloutMs` bounds all three.
 */
export type DeadlinePolicy = (typeof DEADLINE_POLICIES)[number];

/** How one version is delivered. Plain JSON; durations in milliseconds, as in Temporal. */
export interface RolloutPolicy {
  readonly shadow: ShadowStage | null;
  readonly stages: readonly RampStage[];
  readonly watch: { readonly durationMs: number };
  readonly guardrails: readonly Guardrail[];
  /** Chance of rolling back a harmless version, over the whole rollout and all metrics together. */
  readonly alphaRollback: number;
  /** Chance that one required guardrail is declared inside its margin while it is at or beyond it. */
  readonly alphaAdvance: number;
  /** Requests (both arms) at which the confidence sequences are tuned to be tightest: t* of the asymptotic sequence. */
  readonly targetSampleSize: number;
  readonly lookEveryMs: number;
  readonly onDeadline: DeadlinePolicy;
  /** Least time between the first canary request's clock and the promotion, over all stages. */
  readonly minBakeMs: number;
  /** After this long, whatever holds it, a rollout that has not promoted rolls back. */
  readonly maxRolloutMs: number;
}
