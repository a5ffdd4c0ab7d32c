import type { Micros } from '../time.ts';
import type { Analysis, AnalysisPhase, Verdict } from './evidence.ts';
import type { RolloutPolicy } from './policy.ts';

/** One rollout: who is delivered, by whom it was made, how. Immutable once it runs. */
export interface RolloutSpec {
  readonly rolloutId: string;
  readonly model: string;
  readonly version: number;
  /** The id of the person or service that made the version; they cannot approve it. */
  readonly author: string;
  readonly policy: RolloutPolicy;
}

export interface Actor {
  readonly id: string;
  readonly roles: readonly string[];
}

export interface Approval {
  readonly actorId: string;
  readonly at: Micros;
  readonly reason: string;
}

/** What every rollout under way carries: `weightPercent` is the canary's share that is in force now. */
interface Underway {
  readonly startedAt: Micros;
  /** Past this instant a rollout that has not promoted rolls back. */
  readonly endsAt: Micros;
  /** The newest routing epoch that all live nodes acknowledged. */
  readonly acknowledgedEpoch: number;
  readonly weightPercent: number;
  /** When the first canary stage's clock started; null before it. */
  readonly rampStartedAt: Micros | null;
}

/** A stage whose clock runs from the moment all nodes route by it; until then `deadlineAt` counts from the order. */
interface Timed {
  readonly enteredAt: Micros;
  readonly clockStartedAt: Micros | null;
  /** Null when the deadline has passed and the policy holds. */
  readonly deadlineAt: Micros | null;
  /** Of the latest look at this stage. */
  readonly verdict: Verdict;
  /** Names the latest look; null before the first. */
  readonly evidenceDigest: string | null;
}

export interface Planned {
  readonly phase: 'planned';
}
export interface Shadowing extends Underway, Timed {
  readonly phase: 'shadowing';
}
export interface Ramping extends Underway, Timed {
  readonly phase: 'ramping';
  readonly stage: number;
}
/** Waits for people before `stage` may take its weight; the weight of the stage before it stays in force. */
export interface AwaitingApproval extends Underway {
  readonly phase: 'awaitingApproval';
  readonly stage: number;
  /** What the approvers are asked to approve; an approval for other evidence is refused. */
  readonly evidenceDigest: string;
  readonly approvals: readonly Approval[];
  readonly requestedAt: Micros;
  readonly expiresAt: Micros;
  readonly verdict: Verdict;
  /** A person skipped the stage before, so approval is enough and no verdict `advance` is waited for. */
  readonly evidenceWaived: boolean;
}
export type Interruptible = Shadowing | Ramping | AwaitingApproval;
/** Nothing moves forward; harm still rolls back. */
export interface Paused {
  readonly phase: 'paused';
  readonly resumeTo: Interruptible;
  readonly pausedAt: Micros;
  readonly reason: string;
}
/** Nothing moves at all by itself, back included, until a person resumes or aborts or the whole rollout's time is over. */
export interface Frozen {
  readonly phase: 'frozen';
  readonly resumeTo: Interruptible;
  readonly pausedAt: Micros;
  readonly reason: string;
}
/** The version is the champion; the one before it is kept warm until the watch closes. */
export interface Watching {
  readonly phase: 'watching';
  readonly startedAt: Micros;
  readonly acknowledgedEpoch: number;
  readonly promotedAt: Micros;
  readonly clockStartedAt: Micros | null;
  readonly deadlineAt: Micros;
  readonly verdict: Verdict;
}
export interface Promoted {
  readonly phase: 'promoted';
  readonly promotedAt: Micros;
  readonly endedAt: Micros;
}
export interface RollingBack {
  readonly phase: 'rollingBack';
  readonly reason: string;
  readonly since: Micros;
  readonly acknowledgedEpoch: number;
  /** The version had become the champion, so the route goes back to the last known good one. */
  readonly afterPromotion: boolean;
  /** The last order to the route failed; the next timer gives it again. */
  readonly failed: boolean;
}
export interface RolledBack {
  readonly phase: 'rolledBack';
  readonly reason: string;
  readonly endedAt: Micros;
}

export type RolloutState =
  | Planned
  | Shadowing
  | Ramping
  | AwaitingApproval
  | Paused
  | Frozen
  | Watching
  | Promoted
  | RollingBack
  | RolledBack;
export type RolloutPhase = RolloutState['phase'];

export const COMMANDS = ['approve', 'reject', 'pause', 'resume', 'skip', 'abort', 'rollback', 'freeze'] as const;
export type CommandType = (typeof COMMANDS)[number];

/** What a person orders. The API has established who they are; `at` is when the order was accepted. */
export interface RolloutCommand {
  readonly type: CommandType;
  readonly actor: Actor;
  readonly reason: string;
  readonly at: Micros;
  /** What the person looked at; demanded of `approve`. */
  readonly evidenceDigest?: string;
}

export interface Started {
  readonly type: 'Started';
  readonly at: Micros;
}
export interface EvidenceArrived {
  readonly type: 'EvidenceArrived';
  readonly at: Micros;
  readonly analysis: Analysis;
  readonly evidenceDigest: string;
}
/** Every live node routes by `epoch`. */
export interface NodesAcknowledged {
  readonly type: 'NodesAcknowledged';
  readonly at: Micros;
  readonly epoch: number;
}
export interface TimerFired {
  readonly type: 'TimerFired';
  readonly at: Micros;
}
/** An effect failed for good (its activity is not retried any more). */
export interface EffectFailed {
  readonly type: 'EffectFailed';
  readonly at: Micros;
  readonly effect: Effect['type'];
  readonly detail: string;
}
export type RolloutEvent = Started | EvidenceArrived | NodesAcknowledged | TimerFired | EffectFailed | RolloutCommand;

/** What the route of the model is set to: mirrored traffic, a canary's share, or the champion alone. */
export type RouteTarget =
  | { readonly kind: 'shadow' }
  | { readonly kind: 'canary'; readonly weightPercent: number }
  | { readonly kind: 'championOnly' };

export type DecisionKind =
  | 'started'
  | 'stageStarted'
  | 'approvalRequested'
  | 'approved'
  | 'rejected'
  | 'paused'
  | 'frozen'
  | 'resumed'
  | 'skipped'
  | 'held'
  | 'commandRefused'
  | 'promoted'
  | 'watchClosed'
  | 'rollbackStarted'
  | 'rolledBack';

/** What the shell carries out, in order. Each is idempotent: a crash may carry one out twice. */
export type Effect =
  /** A compare-and-set of the route; all nodes acknowledge its epoch before the stage's clock starts. */
  | { readonly type: 'SetRoute'; readonly route: RouteTarget }
  /** The version becomes champion, the champion becomes last known good. */
  | { readonly type: 'Promote' }
  /** Undoes `Promote`: the last known good version becomes champion again. */
  | { readonly type: 'RouteToLastKnownGood'; readonly reason: string }
  /** Of the version itself, or of the champion that it `replaced`. */
  | {
      readonly type: 'TransitionStage';
      readonly subject: 'version' | 'replaced';
      readonly to: 'candidate' | 'production' | 'archived';
      readonly reason: string;
    }
  | {
      readonly type: 'RecordDecision';
      readonly decision: DecisionKind;
      readonly sentence: string;
      readonly actor: Actor | null;
      readonly at: Micros;
      readonly evidenceDigest: string | null;
    }
  | {
      readonly type: 'NotifyApprovers';
      readonly stage: number;
      readonly role: string | null;
      readonly evidenceDigest: string | null;
      readonly expiresAt: Micros | null;
      readonly sentence: string;
    };

export interface Decision {
  readonly state: RolloutState;
  readonly effects: readonly Effect[];
}

export const PLANNED: Planned = { phase: 'planned' };

export function isFinal(state: RolloutState): state is Promoted | RolledBack {
  return state.phase === 'promoted' || state.phase === 'rolledBack';
}

/** Which analysis the state waits for; null where evidence cannot move it. */
export function analysisPhaseOf(state: RolloutState): AnalysisPhase | null {
  switch (state.phase) {
    case 'shadowing':
      return 'shadow';
    case 'ramping':
      return `stage:${state.stage}`;
    case 'awaitingApproval':
      // The weight in force is the one of the stage before; with none before it, what the shadow showed is what is approved.
      return state.stage === 0 ? 'shadow' : `stage:${state.stage - 1}`;
    case 'paused':
    case 'frozen':
      return analysisPhaseOf(state.resumeTo);
    case 'watching':
      return 'watch';
    case 'planned':
    case 'promoted':
    case 'rollingBack':
    case 'rolledBack':
      return null;
  }
}

/** The canary's share of the live traffic that the state stands for. */
export function canaryWeightPercent(state: RolloutState): number {
  switch (state.phase) {
    case 'planned':
    case 'rollingBack':
    case 'rolledBack':
      return 0;
    case 'shadowing':
    case 'ramping':
    case 'awaitingApproval':
      return state.weightPercent;
    case 'paused':
    case 'frozen':
      return state.resumeTo.weightPercent;
    case 'watching':
    case 'promoted':
      return 100;
  }
}

/** How long a rollback waits for every node's acknowledgement before it ends without the missing ones (their leases expire). */
export const ROLLBACK_ACK_MICROS = 60_000_000;

/** When the next timer should fire, whatever else happens; null when no timer can move the state. */
export function nextWakeAt(state: RolloutState): Micros | null {
  switch (state.phase) {
    case 'planned':
    case 'promoted':
    case 'rolledBack':
      return null;
    case 'shadowing':
    case 'ramping':
      return state.deadlineAt === null ? state.endsAt : Math.min(state.deadlineAt, state.endsAt);
    case 'awaitingApproval':
      return Math.min(state.expiresAt, state.endsAt);
    case 'paused':
    case 'frozen':
      return state.resumeTo.endsAt;
    case 'watching':
      return state.deadlineAt;
    case 'rollingBack':
      return state.since + ROLLBACK_ACK_MICROS;
  }
}
