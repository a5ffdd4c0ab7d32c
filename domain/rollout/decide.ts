import type { Micros } from '../time.ts';
import { approvalRuleOf, refusalOf } from './commands.ts';
import {
  closeWatch,
  endRolledBack,
  enterStage,
  hasBaked,
  isInterruptible,
  isUnderway,
  micros,
  moveForward,
  onDeadline,
  onExpiry,
  OUT_OF_TIME,
  pause,
  prepend,
  record,
  rollBack,
  routeBack,
  shiftClocks,
  stageClock,
  stageOf,
  unchanged,
} from './moves.ts';
import { analysisPhaseOf, ROLLBACK_ACK_MICROS } from './state.ts';
import type {
  AwaitingApproval,
  Decision,
  EffectFailed,
  EvidenceArrived,
  Interruptible,
  NodesAcknowledged,
  RolloutCommand,
  RolloutEvent,
  RolloutSpec,
  RolloutState,
  Shadowing,
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

/** Goes on when all approvals are there and the evidence still says so; until then the request runs on. */
function proceedIfApproved(spec: RolloutSpec, state: AwaitingApproval, at: Micros): Decision {
  const enough = state.approvals.length >= (approvalRuleOf(spec, state.stage)?.count ?? 0);
  const sound = state.verdict === 'advance' || (state.evidenceWaived && state.verdict !== 'void');
  return enough && sound ? enterStage(spec, state, state.stage, at) : onTimer(spec, state, at);
}

function harmOf({ analysis }: EvidenceArrived): string {
  return analysis.findings.find(({ verdict }) => verdict === 'rollback')?.sentence ?? 'the evidence shows harm';
}
