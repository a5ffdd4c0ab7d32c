import { CheckedFields, specInvalid } from './checked-fields.ts';

/**
 * What a guardrail watches, per request: `errors` answered with an error; `slow` answered later than the champion's frozen
 * latency threshold; `positives` answered with label 1; `score` the score itself, in [0, 1] (prediction shift: it varies
 * less than the label does, so a shift shows with fewer requests); `loss` Brier loss of the requests whose outcome is known.
 */
export const GUARDRAIL_METRICS = ['errors', 'slow', 'positives', 'score', 'loss'] as const;
export type GuardrailMetric = (typeof GUARDRAIL_METRICS)[number];

export interface Guardrail {
  readonly metric: GuardrailMetric;
  /** The largest harm that is still acceptable: a difference canary − champion of shares (or of mean score or loss), in (0, 1). */
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
  /** The request field whose value stays with one arm (a customer, a parcel). Absent: what a request sends as its `unit`, else each prediction is one. */
  readonly unit?: string;
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

/** What a project writes: the rest has defaults. */
export type RolloutPolicyInput = Pick<RolloutPolicy, 'stages' | 'guardrails'> & Partial<RolloutPolicy>;

const DEFAULTS = {
  shadow: null,
  watch: { durationMs: 86_400_000 },
  alphaRollback: 0.01,
  alphaAdvance: 0.05,
  targetSampleSize: 20_000,
  lookEveryMs: 10_000,
  onDeadline: 'askHuman',
  minBakeMs: 0,
} as const satisfies Partial<RolloutPolicy>;

const FIELDS = [...Object.keys(DEFAULTS), 'stages', 'guardrails', 'maxRolloutMs', 'unit'];

/**
 * The typed policy with its defaults filled in; throws SPEC_INVALID naming field, value and rule.
 * @param path how errors name the policy, for example `models.late-arrival.rollout`
 */
export function checkRolloutPolicy(value: unknown, path: string): RolloutPolicy {
  const given = new CheckedFields(value, path, FIELDS);
  const fields = new CheckedFields({ ...DEFAULTS, ...present(value as object) }, path, FIELDS);
  const shadow = fields.raw('shadow') === null ? null : checkShadow(fields.raw('shadow'), fields.at('shadow'));
  const stages = fields.list('stages', 1).map((stage, index) => checkStage(stage, `${fields.at('stages')}[${index}]`));
  const guardrails = fields
    .list('guardrails', 1)
    .map((each, index) => checkGuardrail(each, `${fields.at('guardrails')}[${index}]`));
  checkStageOrder(stages, fields.at('stages'), shadow);
  checkGuardrailSet(guardrails, fields.at('guardrails'));
  const watch = new CheckedFields(fields.raw('watch'), fields.at('watch'), ['durationMs']);
  const minBakeMs = fields.durationMs('minBakeMs');
  const longestMs = longestWayMs(shadow, stages);
  const policy: RolloutPolicy = {
    ...(fields.has('unit') && { unit: fields.text('unit') }),
    shadow,
    stages,
    watch: { durationMs: watch.durationMs('durationMs') },
    guardrails,
    alphaRollback: fields.number('alphaRollback', { min: 0, max: 0.5, exclusive: true }),
    alphaAdvance: fields.number('alphaAdvance', { min: 0, max: 0.5, exclusive: true }),
    targetSampleSize: fields.count('targetSampleSize', 1),
    lookEveryMs: fields.durationMs('lookEveryMs', 1),
    onDeadline: fields.oneOf('onDeadline', DEADLINE_POLICIES),
    minBakeMs,
    // Twice the longest way through leaves room for one pause or one question at each stage.
    maxRolloutMs: given.has('maxRolloutMs')
      ? fields.durationMs('maxRolloutMs', 1)
      : Math.max(2 * longestMs, minBakeMs + longestMs),
  };
  if (policy.maxRolloutMs < longestMs) {
    throw specInvalid(
      fields.at('maxRolloutMs'),
      policy.maxRolloutMs,
      `it must be at least ${longestMs}, what the stages and approvals may take together`,
    );
  }
  if (minBakeMs > policy.maxRolloutMs)
    throw specInvalid(fields.at('minBakeMs'), minBakeMs, `it must be at most maxRolloutMs, ${policy.maxRolloutMs}`);
  return policy;
}

function present(value: object): object {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined));
}

function checkShadow(value: unknown, path: string): ShadowStage {
  const fields = new CheckedFields(value, path, [
    'minRequests',
    'minDurationMs',
    'maxDurationMs',
    'maxFlipRate',
    'maxErrorRate',
    'maxMeanScoreShift',
  ]);
  const share = { min: 0, max: 1, exclusive: true };
  return {
    minRequests: fields.count('minRequests', 1),
    ...checkDurations(fields),
    ...(fields.has('maxFlipRate') ? { maxFlipRate: fields.number('maxFlipRate', share) } : {}),
    maxErrorRate: fields.number('maxErrorRate', share),
    ...(fields.has('maxMeanScoreShift')
      ? { maxMeanScoreShift: fields.number('maxMeanScoreShift', { min: 0, max: Infinity, exclusive: true }) }
      : {}),
  };
}

function checkStage(value: unknown, path: string): RampStage {
  const fields = new CheckedFields(value, path, [
    'weightPercent',
    'minDurationMs',
    'maxDurationMs',
    'minCanaryRequests',
    'approval',
  ]);
  const weightPercent = fields.number('weightPercent', { min: 0, max: 100 });
  if (weightPercent < 0.01)
    throw specInvalid(fields.at('weightPercent'), weightPercent, 'it must be at least 0.01, one bucket of 10 000');
  return {
    weightPercent,
    ...checkDurations(fields),
    minCanaryRequests: fields.count('minCanaryRequests', weightPercent === 100 ? 0 : 1),
    ...(fields.has('approval') ? { approval: checkApproval(fields.raw('approval'), fields.at('approval')) } : {}),
  };
}

function checkDurations(fields: CheckedFields): { minDurationMs: number; maxDurationMs: number } {
  const minDurationMs = fields.durationMs('minDurationMs');
  const maxDurationMs = fields.durationMs('maxDurationMs');
  if (maxDurationMs < minDurationMs)
    throw specInvalid(fields.at('maxDurationMs'), maxDurationMs, `it must be at least minDurationMs, ${minDurationMs}`);
  return { minDurationMs, maxDurationMs };
}

function checkApproval(value: unknown, path: string): ApprovalRule {
  const fields = new CheckedFields(value, path, ['role', 'count', 'expiresMs']);
  return { role: fields.text('role'), count: fields.count('count', 1), expiresMs: fields.durationMs('expiresMs', 1) };
}

function checkGuardrail(value: unknown, path: string): Guardrail {
  const fields = new CheckedFields(value, path, ['metric', 'margin', 'direction', 'required']);
  return {
    metric: fields.oneOf('metric', GUARDRAIL_METRICS),
    margin: fields.number('margin', { min: 0, max: 1, exclusive: true }),
    direction: fields.oneOf('direction', ['increase', 'either']),
    required: fields.truth('required'),
  };
}

function checkStageOrder(stages: readonly RampStage[], path: string, shadow: ShadowStage | null): void {
  stages.forEach(({ weightPercent }, index) => {
    const before = stages[index - 1]?.weightPercent ?? 0;
    if (weightPercent <= before)
      throw specInvalid(
        `${path}[${index}].weightPercent`,
        weightPercent,
        `the weights must rise, the stage before has ${before}`,
      );
  });
  if (shadow !== null) return;
  if (stages[0]?.weightPercent === 100)
    throw specInvalid(
      `${path}[0].weightPercent`,
      100,
      'without a shadow stage the first stage must leave the champion some traffic to compare with',
    );
  if (stages[0]?.approval !== undefined)
    throw specInvalid(
      `${path}[0].approval`,
      stages[0].approval,
      'without a shadow stage there is no evidence yet that a person could approve',
    );
}

function checkGuardrailSet(guardrails: readonly Guardrail[], path: string): void {
  const metrics = guardrails.map(({ metric }) => metric);
  const twice = metrics.findIndex((metric, index) => metrics.indexOf(metric) !== index);
  if (twice >= 0) throw specInvalid(`${path}[${twice}].metric`, metrics[twice], 'each metric has one guardrail');
  if (!guardrails.some(({ required }) => required))
    throw specInvalid(
      path,
      metrics,
      'at least one guardrail must be required, else nothing has to be shown before a version is promoted',
    );
}

/** The longest a rollout takes without pauses: every stage to its deadline, every approval to its expiry. */
function longestWayMs(shadow: ShadowStage | null, stages: readonly RampStage[]): number {
  return stages.reduce(
    (total, { weightPercent, maxDurationMs, approval }) =>
      total + (weightPercent === 100 ? 0 : maxDurationMs) + (approval?.expiresMs ?? 0),
    shadow?.maxDurationMs ?? 0,
  );
}
