import { MICROS_PER_MILLISECOND } from '../time.ts';
import type { Micros } from '../time.ts';
import { approvalRuleOf, refusalOf } from './commands.ts';
import type { Verdict } from './evidence.ts';
import { analysisPhaseOf, ROLLBACK_ACK_MICROS } from './state.ts';
import type {
  Actor,
  AwaitingApproval,
  Decision,
  DecisionKind,
  Effect,
  EffectFailed,
  EvidenceArrived,
  Interruptible,
  NodesAcknowledged,
  Paused,
  Ramping,
  RollingBack,
  RolloutCommand,
  RolloutEvent,
  RolloutSpec,
  RolloutState,
  Shadowing,
  Watching,
} from './state.ts';

/**
 * The next state of a rollout and what must be done to reach it. The same inputs give the same decision: time is in the event.
 *
 * Kept true by every path: the canary's weight rises only on a verdict `advance` or a person's skip, with the approvals the
 * stage asks for, never while paused, frozen or void; abort is taken in every phase with traffic to take back; there is
 * exactly one end, promoted or rolled back.
 */
export function decide(spec: RolloutSpec, state: RolloutState, event: RolloutEvent): Decision {
  switch (event.type) {
    case 'Started':
      return state.phase === 'planned' ? onStarted(spec, event.at) : unchanged(state);
    case 'EvidenceArrived':
      return onEvidence(spec, state, event);
    case 'NodesAcknowledged':
      return onAcknowledged(spec, state, event);
    case 'TimerFired':
      return onTimer(spec, state, event.at);
    case 'EffectFailed':
      return onEffectFailed(spec, state, event);
    case 'approve':
    case 'reject':
    case 'pause':
    case 'resume':
    case 'skip':
    case 'abort':
    case 'rollback':
    case 'freeze':
      return onCommand(spec, state, event);
  }
}

// ---- events -------------------------------------------------------------------------------------------------------------

function onStarted(spec: RolloutSpec, at: Micros): Decision {
  const underway = {
    startedAt: at,
    endsAt: at + micros(spec.policy.maxRolloutMs),
    acknowledgedEpoch: -1,
    weightPercent: 0,
    rampStartedAt: null,
  };
  const started = record('started', `The rollout of ${spec.model} v${spec.version} starts.`, at);
  const { shadow } = spec.policy;
  if (shadow === null) {
    const base: Shadowing = { phase: 'shadowing', ...underway, ...stageClock(at, 0) };
    return prepend([started], moveForward(spec, base, at, null));
  }
  return {
    state: { phase: 'shadowing', ...underway, ...stageClock(at, shadow.maxDurationMs) },
    effects: [started, { type: 'SetRoute', route: { kind: 'shadow' } }],
  };
}

function onEvidence(spec: RolloutSpec, state: RolloutState, event: EvidenceArrived): Decision {
  const { analysis, at } = event;
  switch (state.phase) {
    case 'planned':
    case 'promoted':
    case 'rollingBack':
    case 'rolledBack':
    case 'frozen':
      return onTimer(spec, state, at);
    case 'shadowing':
    case 'ramping':
    case 'awaitingApproval':
    case 'paused':
    case 'watching':
      break;
  }
  // Harm counts whenever it was measured; anything else only for the phase that it was asked for.
  if (analysis.verdict === 'rollback') return rollBack(state, harmOf(event), at, null, event.evidenceDigest);
  if (analysis.phase !== analysisPhaseOf(state)) return onTimer(spec, state, at);
  if (state.phase === 'paused') return onTimer(spec, state, at);
  if (state.phase === 'watching') return onTimer(spec, { ...state, verdict: analysis.verdict }, at);
  if (at >= state.endsAt) return onTimer(spec, state, at);
  if (state.phase === 'awaitingApproval') return proceedIfApproved(spec, { ...state, verdict: analysis.verdict }, at);

  const looked = { ...state, verdict: analysis.verdict, evidenceDigest: event.evidenceDigest };
  return analysis.verdict === 'advance' && hasBaked(spec, looked, at)
    ? moveForward(spec, looked, at, null)
    : onTimer(spec, looked, at);
}

function onAcknowledged(spec: RolloutSpec, state: RolloutState, { epoch, at }: NodesAcknowledged): Decision {
  switch (state.phase) {
    case 'shadowing':
    case 'ramping': {
      if (epoch <= state.acknowledgedEpoch || state.clockStartedAt !== null) return unchanged(state);
      const maxDurationMs =
        state.phase === 'shadowing'
          ? (spec.policy.shadow?.maxDurationMs ?? 0)
          : stageOf(spec, state.stage).maxDurationMs;
      const rampStartedAt = state.rampStartedAt ?? (state.phase === 'ramping' ? at : null);
      return unchanged({
        ...state,
        acknowledgedEpoch: epoch,
        clockStartedAt: at,
        rampStartedAt,
        deadlineAt: at + micros(maxDurationMs),
      });
    }
    case 'watching':
      if (epoch <= state.acknowledgedEpoch || state.clockStartedAt !== null) return unchanged(state);
      return unchanged({
        ...state,
        acknowledgedEpoch: epoch,
        clockStartedAt: at,
        deadlineAt: at + micros(spec.policy.watch.durationMs),
      });
    case 'rollingBack':
      return epoch <= state.acknowledgedEpoch || state.failed
        ? unchanged(state)
        : endRolledBack(state, at, 'every node has taken the route');
    case 'paused':
    case 'frozen': {
      // A pause can come between the order to the route and its acknowledgement: the clock of the stage below starts at the pause.
      const inner = onAcknowledged(spec, state.resumeTo, {
        type: 'NodesAcknowledged',
        epoch,
        at: state.pausedAt,
      }).state;
      return unchanged({ ...state, resumeTo: inner as Interruptible });
    }
    case 'planned':
    case 'awaitingApproval':
    case 'promoted':
    case 'rolledBack':
      return unchanged(state);
  }
}

function onTimer(spec: RolloutSpec, state: RolloutState, at: Micros): Decision {
  switch (state.phase) {
    case 'planned':
    case 'promoted':
    case 'rolledBack':
      return unchanged(state);
    case 'shadowing':
    case 'ramping':
      if (at >= state.endsAt) return rollBack(state, OUT_OF_TIME, at);
      return state.deadlineAt !== null && at >= state.deadlineAt ? onDeadline(spec, state, at) : unchanged(state);
    case 'awaitingApproval':
      if (at >= state.endsAt) return rollBack(state, OUT_OF_TIME, at);
      return at >= state.expiresAt ? onExpiry(spec, state, at) : unchanged(state);
    case 'paused':
    case 'frozen':
      return at >= state.resumeTo.endsAt ? rollBack(state, OUT_OF_TIME, at) : unchanged(state);
    case 'watching':
      return at >= state.deadlineAt ? closeWatch(state, at, 'The watch found no harm.', null) : unchanged(state);
    case 'rollingBack':
      if (at < state.since + ROLLBACK_ACK_MICROS) return unchanged(state);
      if (state.failed) return { state: { ...state, since: at, failed: false }, effects: [routeBack(state)] };
      return endRolledBack(state, at, 'not every node has acknowledged it, the others lose their lease');
  }
}

function onEffectFailed(spec: RolloutSpec, state: RolloutState, { effect, detail, at }: EffectFailed): Decision {
  switch (effect) {
    case 'SetRoute':
    case 'RouteToLastKnownGood':
      if (state.phase === 'rollingBack') return unchanged({ ...state, failed: true });
      return isUnderway(state) ? rollBack(state, `the route could not be set: ${detail}`, at) : unchanged(state);
    case 'Promote':
      // A refused promotion left the route as it was: the champion is still the old one and only the canary has to go.
      return state.phase === 'watching'
        ? rollBack(state, `the promotion failed: ${detail}`, at, null, null, false)
        : unchanged(state);
    case 'TransitionStage':
    case 'RecordDecision':
      return isUnderway(state) ? rollBack(state, `${effect} failed: ${detail}`, at) : unchanged(state);
    case 'NotifyApprovers':
      // The request stands in the API and the console, and expires by itself.
      return unchanged(state);
  }
}

function onCommand(spec: RolloutSpec, state: RolloutState, command: RolloutCommand): Decision {
  const { actor, reason, at } = command;
  const refusal = refusalOf(spec, state, command);
  if (refusal !== null) return { state, effects: [record('commandRefused', refusal.message, at, actor)] };
  switch (command.type) {
    case 'abort':
    case 'rollback':
      if (state.phase === 'planned') {
        return {
          state: { phase: 'rolledBack', reason, endedAt: at },
          effects: [record('rolledBack', `Ended before it started: ${reason}`, at, actor)],
        };
      }
      return isUnderway(state) ? rollBack(state, reason, at, actor) : unchanged(state);
    case 'reject':
      return isUnderway(state)
        ? rollBack(state, `rejected by ${actor.id}: ${reason}`, at, actor, command.evidenceDigest ?? null)
        : unchanged(state);
    case 'approve': {
      if (state.phase !== 'awaitingApproval') return unchanged(state);
      const approved: AwaitingApproval = {
        ...state,
        approvals: [...state.approvals, { actorId: actor.id, at, reason }],
      };
      return prepend(
        [
          record(
            'approved',
            `${actor.id} approves stage ${state.stage + 1}: ${reason}`,
            at,
            actor,
            state.evidenceDigest,
          ),
        ],
        proceedIfApproved(spec, approved, at),
      );
    }
    case 'pause':
      return isInterruptible(state) ? pause(state, reason, at, actor) : unchanged(state);
    case 'freeze': {
      if (state.phase !== 'paused' && !isInterruptible(state)) return unchanged(state);
      const [resumeTo, pausedAt] = state.phase === 'paused' ? [state.resumeTo, state.pausedAt] : [state, at];
      return {
        state: { phase: 'frozen', resumeTo, pausedAt, reason },
        effects: [record('frozen', `Frozen at ${resumeTo.weightPercent} %: ${reason}`, at, actor)],
      };
    }
    case 'resume': {
      if (state.phase !== 'paused' && state.phase !== 'frozen') return unchanged(state);
      return {
        state: shiftClocks(state.resumeTo, Math.max(0, at - state.pausedAt)),
        effects: [record('resumed', `Resumed: ${reason}`, at, actor)],
      };
    }
    case 'skip': {
      if (state.phase === 'watching') return closeWatch(state, at, `The watch is cut short: ${reason}`, actor);
      if (state.phase !== 'shadowing' && state.phase !== 'ramping') return unchanged(state);
      return prepend(
        [record('skipped', `${actor.id} skips the rest of the stage: ${reason}`, at, actor, state.evidenceDigest)],
        moveForward(spec, state, at, actor),
      );
    }
  }
}

// ---- moves --------------------------------------------------------------------------------------------------------------

/** The current stage is over: on to the next, by way of its approval. `skipper` moved it without waiting for the evidence. */
function moveForward(spec: RolloutSpec, state: Shadowing | Ramping, at: Micros, skipper: Actor | null): Decision {
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
  if (rule === null || state.evidenceDigest === null) return prepend(shadowPassed, enterStage(spec, state, stage, at));
  const expiresAt = at + micros(rule.expiresMs);
  const { evidenceDigest } = state;
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

function proceedIfApproved(spec: RolloutSpec, state: AwaitingApproval, at: Micros): Decision {
  const enough = state.approvals.length >= (approvalRuleOf(spec, state.stage)?.count ?? 0);
  const sound = state.verdict === 'advance' || (state.evidenceWaived && state.verdict !== 'void');
  return enough && sound ? enterStage(spec, state, state.stage, at) : onTimer(spec, state, at);
}

/** Gives stage `stage` its weight; past the last one, and for a last one of 100 %, the version is promoted. */
function enterStage(spec: RolloutSpec, state: Interruptible, stage: number, at: Micros): Decision {
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

function onDeadline(spec: RolloutSpec, state: Shadowing | Ramping, at: Micros): Decision {
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
function onExpiry(spec: RolloutSpec, state: AwaitingApproval, at: Micros): Decision {
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

function pause(resumeTo: Interruptible, reason: string, at: Micros, actor: Actor | null): Decision {
  const paused: Paused = { phase: 'paused', resumeTo, pausedAt: at, reason };
  return { state: paused, effects: [record('paused', `Paused at ${resumeTo.weightPercent} %: ${reason}`, at, actor)] };
}

function rollBack(
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

function endRolledBack({ reason }: RollingBack, at: Micros, how: string): Decision {
  return {
    state: { phase: 'rolledBack', reason, endedAt: at },
    effects: [
      transition('version', 'archived', reason),
      record('rolledBack', `No traffic reaches the version any more; ${how}.`, at),
    ],
  };
}

function closeWatch({ promotedAt }: Watching, at: Micros, sentence: string, actor: Actor | null): Decision {
  return {
    state: { phase: 'promoted', promotedAt, endedAt: at },
    effects: [
      transition('replaced', 'archived', 'a newer version is in production and its watch is over'),
      record('watchClosed', sentence, at, actor),
    ],
  };
}

// ---- small parts --------------------------------------------------------------------------------------------------------

const OUT_OF_TIME = 'the time for the whole rollout is over and nothing has decided for the version';
const LOOKING = { clockStartedAt: null, deadlineAt: null, verdict: 'hold' as Verdict };

function stageOf(spec: RolloutSpec, stage: number) {
  const found = spec.policy.stages[stage];
  if (found === undefined)
    throw new RangeError(`the policy has ${spec.policy.stages.length} stages, there is no stage ${stage}`);
  return found;
}

function stageName(state: Shadowing | Ramping): string {
  return state.phase === 'shadowing' ? 'the shadow stage' : `stage ${state.stage + 1}`;
}

function stageClock(at: Micros, maxDurationMs: number) {
  return { ...LOOKING, enteredAt: at, deadlineAt: at + micros(maxDurationMs), evidenceDigest: null };
}

/** A stage whose weight is in force already, with its time before it again. */
function renewClock<S extends Shadowing | Ramping>(spec: RolloutSpec, state: S, at: Micros): S {
  const maxDurationMs =
    state.phase === 'shadowing' ? (spec.policy.shadow?.maxDurationMs ?? 0) : stageOf(spec, state.stage).maxDurationMs;
  return { ...state, clockStartedAt: at, deadlineAt: at + micros(maxDurationMs), verdict: 'hold' };
}

/** Time spent paused does not count, and the verdict must be found anew. */
function shiftClocks(state: Interruptible, by: number): Interruptible {
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
function hasBaked(spec: RolloutSpec, state: Shadowing | Ramping, at: Micros): boolean {
  if (state.clockStartedAt === null) return false;
  if (state.phase === 'shadowing') return at >= state.clockStartedAt + micros(spec.policy.shadow?.minDurationMs ?? 0);
  const next = spec.policy.stages[state.stage + 1];
  const promotes = next === undefined || next.weightPercent >= 100;
  const baked = !promotes || at >= (state.rampStartedAt ?? at) + micros(spec.policy.minBakeMs);
  return baked && at >= state.clockStartedAt + micros(stageOf(spec, state.stage).minDurationMs);
}

function harmOf({ analysis }: EvidenceArrived): string {
  return analysis.findings.find(({ verdict }) => verdict === 'rollback')?.sentence ?? 'the evidence shows harm';
}

function isInterruptible(state: RolloutState): state is Interruptible {
  return state.phase === 'shadowing' || state.phase === 'ramping' || state.phase === 'awaitingApproval';
}

function isUnderway(
  state: RolloutState,
): state is Exclude<RolloutState, { phase: 'planned' | 'promoted' | 'rollingBack' | 'rolledBack' }> {
  return isInterruptible(state) || state.phase === 'paused' || state.phase === 'frozen' || state.phase === 'watching';
}

function routeBack({ afterPromotion, reason }: RollingBack): Effect {
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

function record(
  decision: DecisionKind,
  sentence: string,
  at: Micros,
  actor: Actor | null = null,
  evidenceDigest: string | null = null,
): Effect {
  return { type: 'RecordDecision', decision, sentence, actor, at, evidenceDigest };
}

function prepend(effects: readonly Effect[], decision: Decision): Decision {
  return { state: decision.state, effects: [...effects, ...decision.effects] };
}

function unchanged(state: RolloutState): Decision {
  return { state, effects: [] };
}

function micros(milliseconds: number): number {
  return milliseconds * MICROS_PER_MILLISECOND;
}
