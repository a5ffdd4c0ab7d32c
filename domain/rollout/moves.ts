import { MICROS_PER_MILLISECOND } from '../time.ts';
import type { Micros } from '../time.ts';
import { approvalRuleOf } from './commands.ts';
import type { Verdict } from './evidence.ts';
import type {
  Actor,
  AwaitingApproval,
  Decision,
  DecisionKind,
  Effect,
  Interruptible,
  Paused,
  Ramping,
  RollingBack,
  RolloutSpec,
  RolloutState,
  Shadowing,
  Watching,
} from './state.ts';

// The moves a rollout can make: each gives the next state and its effects. When to make which is decided in decide.ts.

/** The current stage is over: on to the next, by way of its approval. `skipper` moved it without waiting for the evidence. */
export function moveForward(
  spec: RolloutSpec,
  state: Shadowing | Ramping,
  at: Micros,
  skipper: Actor | null,
): Decision {
  const { startedAt, endsAt, acknowledgedEpoch, weightPercent, rampStartedAt, verdict } = state;
  const stage = state.phase === 'shadowing' ? 0 : state.stage + 1;
  const rule = approvalRuleOf(spec, stage);
  const shadowPassed: readonly Effect[] =
    state.phase === 'shadowing'
      ? [
          transition(
            'version',
            'candidate',
            spec.policy.shadow === null ? 'no shadow stage is asked for' : 'the shadow stage is over',
          ),
        ]
      : [];
  if (rule === null) return prepend(shadowPassed, enterStage(spec, state, stage, at));
  const expiresAt = at + micros(rule.expiresMs);
  const evidenceDigest = state.evidenceDigest ?? NO_EVIDENCE;
  const sentence = `Stage ${stage + 1} (${stageOf(spec, stage).weightPercent} %) needs ${rule.count} of role ${rule.role}.`;
  return {
    state: {
      phase: 'awaitingApproval',
      startedAt,
      endsAt,
      acknowledgedEpoch,
      weightPercent,
      rampStartedAt,
      verdict,
      stage,
      evidenceDigest,
      approvals: [],
      requestedAt: at,
      expiresAt,
      evidenceWaived: skipper !== null,
    },
    effects: [
      ...shadowPassed,
      record('approvalRequested', sentence, at, skipper, evidenceDigest),
      { type: 'NotifyApprovers', stage, role: rule.role, evidenceDigest, expiresAt, sentence },
    ],
  };
}

/** Gives stage `stage` its weight; past the last one, and for a last one of 100 %, the version is promoted. */
export function enterStage(spec: RolloutSpec, state: Interruptible, stage: number, at: Micros): Decision {
  const { startedAt, endsAt, acknowledgedEpoch, rampStartedAt } = state;
  const weightPercent = spec.policy.stages[stage]?.weightPercent ?? 100;
  if (weightPercent >= 100) {
    const watching: Watching = {
      phase: 'watching',
      startedAt,
      acknowledgedEpoch,
      promotedAt: at,
      clockStartedAt: null,
      deadlineAt: at + micros(spec.policy.watch.durationMs),
      verdict: 'hold',
    };
    const sentence = `${spec.model} v${spec.version} becomes the champion; the watch begins.`;
    return {
      state: watching,
      effects: [
        { type: 'Promote' },
        transition('version', 'production', 'its canary stages are over'),
        record('promoted', sentence, at),
      ],
    };
  }
  const clock = stageClock(at, stageOf(spec, stage).maxDurationMs);
  return {
    state: { phase: 'ramping', startedAt, endsAt, acknowledgedEpoch, rampStartedAt, stage, weightPercent, ...clock },
    effects: [
      { type: 'SetRoute', route: { kind: 'canary', weightPercent } },
      record('stageStarted', `Stage ${stage + 1}: ${weightPercent} % of the traffic.`, at),
    ],
  };
}

export function onDeadline(spec: RolloutSpec, state: Shadowing | Ramping, at: Micros): Decision {
  const why = `the deadline of ${stageName(state)} passed and the evidence says ${state.verdict}`;
  switch (spec.policy.onDeadline) {
    case 'rollback':
      return rollBack(state, why, at, null, state.evidenceDigest);
    case 'hold':
      return {
        state: { ...state, deadlineAt: null },
        effects: [record('held', `Held at ${state.weightPercent} %: ${why}.`, at, null, state.evidenceDigest)],
      };
    case 'askHuman':
      return askHuman(spec, state, why, at);
  }
}

/** Nobody approved in time: the approvals given so far are void, and the stage before takes up its looks with a new clock. */
export function onExpiry(spec: RolloutSpec, state: AwaitingApproval, at: Micros): Decision {
  const why = `stage ${state.stage + 1} was not approved in time`;
  const { startedAt, endsAt, acknowledgedEpoch, weightPercent, rampStartedAt, evidenceDigest } = state;
  const underway = { startedAt, endsAt, acknowledgedEpoch, weightPercent, rampStartedAt, evidenceDigest };
  const previous: Shadowing | Ramping = renewClock(
    spec,
    state.stage === 0
      ? { phase: 'shadowing', ...underway, ...LOOKING, enteredAt: at }
      : { phase: 'ramping', stage: state.stage - 1, ...underway, ...LOOKING, enteredAt: at },
    at,
  );
  switch (spec.policy.onDeadline) {
    case 'rollback':
      return rollBack(state, why, at, null, evidenceDigest);
    case 'hold':
      return {
        state: previous,
        effects: [record('held', `Held at ${weightPercent} %: ${why}.`, at, null, evidenceDigest)],
      };
    case 'askHuman':
      return askHuman(spec, previous, why, at);
  }
}

/** Pauses until a person decides; once resumed the stage has its whole time again. */
function askHuman(spec: RolloutSpec, state: Shadowing | Ramping, why: string, at: Micros): Decision {
  const paused = pause(renewClock(spec, state, at), why, at, null);
  const sentence = `A person must decide: ${why}.`;
  const notice: Effect = {
    type: 'NotifyApprovers',
    stage: state.phase === 'ramping' ? state.stage : -1,
    role: null,
    evidenceDigest: state.evidenceDigest,
    expiresAt: state.endsAt,
    sentence,
  };
  return { state: paused.state, effects: [...paused.effects, notice] };
}

export function pause(resumeTo: Interruptible, reason: string, at: Micros, actor: Actor | null): Decision {
  const paused: Paused = { phase: 'paused', resumeTo, pausedAt: at, reason };
  return { state: paused, effects: [record('paused', `Paused at ${resumeTo.weightPercent} %: ${reason}`, at, actor)] };
}

export function rollBack(
  state: Interruptible | Paused | { readonly phase: 'frozen'; readonly resumeTo: Interruptible } | Watching,
  reason: string,
  at: Micros,
  actor: Actor | null = null,
  evidenceDigest: string | null = null,
  afterPromotion = state.phase === 'watching',
): Decision {
  const acknowledgedEpoch =
    state.phase === 'paused' || state.phase === 'frozen' ? state.resumeTo.acknowledgedEpoch : state.acknowledgedEpoch;
  const next: RollingBack = {
    phase: 'rollingBack',
    reason,
    since: at,
    acknowledgedEpoch,
    afterPromotion,
    failed: false,
  };
  return {
    state: next,
    effects: [routeBack(next), record('rollbackStarted', `Rolls back: ${reason}`, at, actor, evidenceDigest)],
  };
}

export function endRolledBack({ reason }: RollingBack, at: Micros, how: string): Decision {
  return {
    state: { phase: 'rolledBack', reason, endedAt: at },
    effects: [
      transition('version', 'archived', reason),
      record('rolledBack', `No traffic reaches the version any more; ${how}.`, at),
    ],
  };
}

export function closeWatch({ promotedAt }: Watching, at: Micros, sentence: string, actor: Actor | null): Decision {
  return {
    state: { phase: 'promoted', promotedAt, endedAt: at },
    effects: [
      transition('replaced', 'archived', 'a newer version is in production and its watch is over'),
      record('watchClosed', sentence, at, actor),
    ],
  };
}

/** Stands where approval is asked for before any look: a checked policy never does, and nothing rises on it. */
const NO_EVIDENCE = 'none';
export const OUT_OF_TIME = 'the time for the whole rollout is over and nothing has decided for the version';
const LOOKING = { clockStartedAt: null, deadlineAt: null, verdict: 'hold' as Verdict };

export function stageOf(spec: RolloutSpec, stage: number) {
  const found = spec.policy.stages[stage];
  if (found === undefined)
    throw new RangeError(`the policy has ${spec.policy.stages.length} stages, there is no stage ${stage}`);
  return found;
}

function stageName(state: Shadowing | Ramping): string {
  return state.phase === 'shadowing' ? 'the shadow stage' : `stage ${state.stage + 1}`;
}

export function stageClock(at: Micros, maxDurationMs: number) {
  return { ...LOOKING, enteredAt: at, deadlineAt: at + micros(maxDurationMs), evidenceDigest: null };
}

/** A stage whose weight is in force already, with its time before it again. */
function renewClock<S extends Shadowing | Ramping>(spec: RolloutSpec, state: S, at: Micros): S {
  const maxDurationMs =
    state.phase === 'shadowing' ? (spec.policy.shadow?.maxDurationMs ?? 0) : stageOf(spec, state.stage).maxDurationMs;
  return { ...state, clockStartedAt: at, deadlineAt: at + micros(maxDurationMs), verdict: 'hold' };
}

/** Time spent paused does not count, and the verdict must be found anew. */
export function shiftClocks(state: Interruptible, by: number): Interruptible {
  const shift = (instant: Micros | null) => (instant === null ? null : instant + by);
  switch (state.phase) {
    case 'shadowing':
    case 'ramping':
      return {
        ...state,
        clockStartedAt: shift(state.clockStartedAt),
        deadlineAt: shift(state.deadlineAt),
        verdict: 'hold',
      };
    case 'awaitingApproval':
      return { ...state, expiresAt: state.expiresAt + by, verdict: 'hold' };
  }
}

/** The stage's clock runs and has run long enough; before the promotion the whole bake has, too. */
export function hasBaked(spec: RolloutSpec, state: Shadowing | Ramping, at: Micros): boolean {
  if (state.clockStartedAt === null) return false;
  if (state.phase === 'shadowing') return at >= state.clockStartedAt + micros(spec.policy.shadow?.minDurationMs ?? 0);
  const next = spec.policy.stages[state.stage + 1];
  const promotes = next === undefined || next.weightPercent >= 100;
  const baked = !promotes || at >= (state.rampStartedAt ?? at) + micros(spec.policy.minBakeMs);
  return baked && at >= state.clockStartedAt + micros(stageOf(spec, state.stage).minDurationMs);
}

export function isInterruptible(state: RolloutState): state is Interruptible {
  return state.phase === 'shadowing' || state.phase === 'ramping' || state.phase === 'awaitingApproval';
}

export function isUnderway(
  state: RolloutState,
): state is Exclude<RolloutState, { phase: 'planned' | 'promoted' | 'rollingBack' | 'rolledBack' }> {
  return isInterruptible(state) || state.phase === 'paused' || state.phase === 'frozen' || state.phase === 'watching';
}

export function routeBack({ afterPromotion, reason }: RollingBack): Effect {
  return afterPromotion
    ? { type: 'RouteToLastKnownGood', reason }
    : { type: 'SetRoute', route: { kind: 'championOnly' } };
}

function transition(
  subject: 'version' | 'replaced',
  to: 'candidate' | 'production' | 'archived',
  reason: string,
): Effect {
  return { type: 'TransitionStage', subject, to, reason };
}

export function record(
  decision: DecisionKind,
  sentence: string,
  at: Micros,
  actor: Actor | null = null,
  evidenceDigest: string | null = null,
): Effect {
  return { type: 'RecordDecision', decision, sentence, actor, at, evidenceDigest };
}

export function prepend(effects: readonly Effect[], decision: Decision): Decision {
  return { state: decision.state, effects: [...effects, ...decision.effects] };
}

export function unchanged(state: RolloutState): Decision {
  return { state, effects: [] };
}

export function micros(milliseconds: number): number {
  return milliseconds * MICROS_PER_MILLISECOND;
}
