import { SerinError } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import type { ApprovalRule } from './policy.ts';
import type {
  AwaitingApproval,
  CommandType,
  RolloutCommand,
  RolloutPhase,
  RolloutSpec,
  RolloutState,
} from './state.ts';

/**
 * Who may give which command. Stopping is open to everyone who works on models, moving forward is not. `approve` and
 * `reject` need the role that the stage's approval rule names.
 */
const ROLES: Record<Exclude<CommandType, 'approve' | 'reject'>, readonly string[]> = {
  pause: ['engineer', 'approver', 'operator', 'admin'],
  freeze: ['engineer', 'approver', 'operator', 'admin'],
  abort: ['engineer', 'approver', 'operator', 'admin'],
  rollback: ['engineer', 'approver', 'operator', 'admin'],
  resume: ['engineer', 'operator', 'admin'],
  skip: ['operator', 'admin'],
};

/** The commands each phase takes: the whole table. `abort` and `rollback` are in every row that has traffic to take back. */
export const COMMANDS_BY_PHASE: Record<RolloutPhase, readonly CommandType[]> = {
  planned: ['abort', 'rollback'],
  shadowing: ['pause', 'freeze', 'skip', 'abort', 'rollback'],
  ramping: ['pause', 'freeze', 'skip', 'abort', 'rollback'],
  awaitingApproval: ['approve', 'reject', 'pause', 'freeze', 'abort', 'rollback'],
  paused: ['resume', 'freeze', 'abort', 'rollback'],
  frozen: ['resume', 'abort', 'rollback'],
  watching: ['skip', 'abort', 'rollback'],
  promoted: [],
  rollingBack: [],
  rolledBack: [],
};

/** Throws why `command` is not taken now; says nothing when it is. Pure, so it can be the validator of a workflow Update. */
export function refuseUnlessAllowed(spec: RolloutSpec, state: RolloutState, command: RolloutCommand): void {
  const refusal = refusalOf(spec, state, command);
  if (refusal !== null) throw refusal;
}

export function refusalOf(spec: RolloutSpec, state: RolloutState, command: RolloutCommand): SerinError | null {
  const allowed = COMMANDS_BY_PHASE[state.phase];
  if (!allowed.includes(command.type)) {
    const alternatives = allowed.length === 0 ? 'it takes no commands any more' : `it takes ${allowed.join(', ')}`;
    return refused(
      state.phase === 'promoted' || state.phase === 'rolledBack' ? 'ROLLOUT_ENDED' : 'COMMAND_REFUSED',
      `the rollout of ${spec.model} v${spec.version} is ${PHASE_WORDS[state.phase]} and does not take "${command.type}"; ${alternatives}`,
      { command: command.type, phase: state.phase, allowed },
    );
  }
  if (command.reason.trim() === '') {
    return refused('COMMAND_REFUSED', `"${command.type}" needs a reason for the record; give one`, {
      command: command.type,
      rule: 'reason',
    });
  }
  if (state.phase === 'awaitingApproval' && (command.type === 'approve' || command.type === 'reject')) {
    return approvalRefusal(spec, state, command, approvalRuleOf(spec, state.stage));
  }
  const roles = command.type === 'approve' || command.type === 'reject' ? [] : ROLES[command.type];
  if (!roles.some((role) => command.actor.roles.includes(role))) return lacksRole(command, roles);
  if (command.type === 'skip') return skipRefusal(spec, state);
  return null;
}

export function approvalRuleOf(spec: RolloutSpec, stage: number): ApprovalRule | null {
  return spec.policy.stages[stage]?.approval ?? null;
}

function approvalRefusal(
  spec: RolloutSpec,
  state: AwaitingApproval,
  command: RolloutCommand,
  rule: ApprovalRule | null,
): SerinError | null {
  if (rule === null || !command.actor.roles.includes(rule.role))
    return lacksRole(command, rule === null ? [] : [rule.role]);
  if (command.type === 'reject') return null;
  if (command.actor.id === spec.author) {
    return refused(
      'APPROVAL_BY_AUTHOR',
      `${command.actor.id} made ${spec.model} v${spec.version} and cannot approve it; ask another ${rule.role}`,
      {
        actor: command.actor.id,
        author: spec.author,
      },
    );
  }
  if (command.at >= state.expiresAt) {
    return refused('COMMAND_REFUSED', 'the request for approval has expired; wait for the next one or skip', {
      expiresAt: state.expiresAt,
      at: command.at,
    });
  }
  if (command.evidenceDigest !== state.evidenceDigest) {
    return refused(
      'APPROVAL_STALE',
      `the approval is for evidence ${command.evidenceDigest ?? '(none given)'}, the rollout asks about ${state.evidenceDigest}; look at it and approve again`,
      { given: command.evidenceDigest ?? null, current: state.evidenceDigest },
    );
  }
  if (state.approvals.some(({ actorId }) => actorId === command.actor.id)) {
    return refused(
      'COMMAND_REFUSED',
      `${command.actor.id} has approved already; ${rule.count - state.approvals.length} more of ${rule.count} must be someone else`,
      { actor: command.actor.id, approvals: state.approvals.length, count: rule.count },
    );
  }
  return null;
}

function skipRefusal(spec: RolloutSpec, state: RolloutState): SerinError | null {
  if (state.phase !== 'shadowing' && state.phase !== 'ramping') return null;
  if (state.verdict === 'void') {
    return refused(
      'COMMAND_REFUSED',
      'the sample ratio does not match the route, so traffic does not rise; find out why, or abort',
      { verdict: 'void' },
    );
  }
  const next = state.phase === 'shadowing' ? 0 : state.stage + 1;
  if (approvalRuleOf(spec, next) !== null && state.evidenceDigest === null) {
    return refused(
      'COMMAND_REFUSED',
      'the next stage needs an approval and there is no evidence yet to approve; wait for the first look',
      { stage: next },
    );
  }
  return null;
}

function lacksRole(command: RolloutCommand, roles: readonly string[]): SerinError {
  const held = command.actor.roles.length === 0 ? 'no role' : command.actor.roles.join(', ');
  return refused(
    'FORBIDDEN',
    `"${command.type}" needs one of the roles ${roles.join(', ')}; ${command.actor.id} has ${held}`,
    {
      command: command.type,
      actor: command.actor.id,
      required: roles,
      held: command.actor.roles,
    },
  );
}

function refused(code: ErrorCode, detail: string, fields: Record<string, unknown>): SerinError {
  return new SerinError(code, detail, { fields });
}

export const PHASE_WORDS: Record<RolloutPhase, string> = {
  planned: 'planned',
  shadowing: 'in shadow',
  ramping: 'ramping',
  awaitingApproval: 'waiting for approval',
  paused: 'paused',
  frozen: 'frozen',
  watching: 'in its watch',
  promoted: 'promoted',
  rollingBack: 'rolling back',
  rolledBack: 'rolled back',
};
