import { expect, test } from 'vitest';
import { SerinError } from '../errors.ts';
import { COMMANDS_BY_PHASE, refusalOf, refuseUnlessAllowed } from './commands.ts';
import { approver, aSpec, author, command, DIGEST, operator, SECOND, viewer } from './rollout-fixtures.ts';
import { COMMANDS } from './state.ts';
import type { AwaitingApproval, Ramping, RolloutPhase, RolloutState } from './state.ts';

const underway = {
  startedAt: 0,
  endsAt: 600 * SECOND,
  acknowledgedEpoch: 3,
  weightPercent: 20,
  rampStartedAt: 10 * SECOND,
};
const ramping: Ramping = {
  phase: 'ramping',
  ...underway,
  stage: 0,
  enteredAt: 20 * SECOND,
  clockStartedAt: 20 * SECOND,
  deadlineAt: 80 * SECOND,
  verdict: 'hold',
  evidenceDigest: DIGEST,
};
const awaiting: AwaitingApproval = {
  phase: 'awaitingApproval',
  ...underway,
  stage: 2,
  evidenceDigest: DIGEST,
  approvals: [],
  requestedAt: 36 * SECOND,
  expiresAt: 66 * SECOND,
  verdict: 'advance',
  evidenceWaived: false,
};
const states: Record<RolloutPhase, RolloutState> = {
  planned: { phase: 'planned' },
  shadowing: { ...ramping, phase: 'shadowing' },
  ramping,
  awaitingApproval: awaiting,
  paused: { phase: 'paused', resumeTo: ramping, pausedAt: 0, reason: 'lunch' },
  frozen: { phase: 'frozen', resumeTo: ramping, pausedAt: 0, reason: 'incident' },
  watching: {
    phase: 'watching',
    startedAt: 0,
    acknowledgedEpoch: 4,
    promotedAt: 0,
    clockStartedAt: 0,
    deadlineAt: 99,
    verdict: 'hold',
  },
  promoted: { phase: 'promoted', promotedAt: 0, endedAt: 1 },
  rollingBack: {
    phase: 'rollingBack',
    reason: 'harm',
    since: 0,
    acknowledgedEpoch: 4,
    afterPromotion: false,
    failed: false,
  },
  rolledBack: { phase: 'rolledBack', reason: 'harm', endedAt: 1 },
};
const everyRole = { id: 'root', roles: ['engineer', 'approver', 'operator', 'admin'] };

function codeOf(run: () => void): string {
  try {
    run();
  } catch (error) {
    if (error instanceof SerinError) return error.code;
    throw error;
  }
  return 'none';
}

test('each phase takes exactly the commands of the table, from someone with every role', () => {
  for (const [phase, state] of Object.entries(states) as [RolloutPhase, RolloutState][]) {
    const taken = COMMANDS.filter((type) => refusalOf(aSpec(), state, command(type, everyRole, 40, DIGEST)) === null);
    expect([phase, taken]).toEqual([phase, COMMANDS.filter((type) => COMMANDS_BY_PHASE[phase].includes(type))]);
  }
});

test('a viewer can command nothing', () => {
  for (const state of Object.values(states)) {
    for (const type of COMMANDS)
      expect(refusalOf(aSpec(), state, command(type, viewer, 40, DIGEST))).toBeInstanceOf(SerinError);
  }
});

test.each([
  ['the author', awaiting, command('approve', author, 40, DIGEST), 'APPROVAL_BY_AUTHOR'],
  ['someone without the role', awaiting, command('approve', operator, 40, DIGEST), 'FORBIDDEN'],
  ['for older evidence', awaiting, command('approve', approver, 40, 'sha256:older'), 'APPROVAL_STALE'],
  ['without evidence', awaiting, command('approve', approver, 40), 'APPROVAL_STALE'],
  ['after it expired', awaiting, command('approve', approver, 66, DIGEST), 'COMMAND_REFUSED'],
  [
    'a second time',
    { ...awaiting, approvals: [{ actorId: 'grace', at: 0, reason: 'fine' }] },
    command('approve', approver, 40, DIGEST),
    'COMMAND_REFUSED',
  ],
  ['of a stage that does not wait', ramping, command('approve', approver, 40, DIGEST), 'COMMAND_REFUSED'],
  ['of a rollout that is over', states.promoted, command('approve', approver, 40, DIGEST), 'ROLLOUT_ENDED'],
] as const)('an approval %s is refused', (_, state, given, code) => {
  expect(codeOf(() => refuseUnlessAllowed(aSpec(), state, given))).toBe(code);
});

test('an approver who is not the author approves what is asked', () => {
  expect(codeOf(() => refuseUnlessAllowed(aSpec(), awaiting, command('approve', approver, 40, DIGEST)))).toBe('none');
});

test('the author may reject and abort their own version', () => {
  expect(refusalOf(aSpec(), awaiting, command('reject', author, 40))).toBeNull();
  expect(refusalOf(aSpec(), ramping, command('abort', author, 40))).toBeNull();
});

test('a broken sample ratio cannot be skipped', () => {
  expect(refusalOf(aSpec(), { ...ramping, verdict: 'void' }, command('skip', operator, 40))?.code).toBe(
    'COMMAND_REFUSED',
  );
});

test('a skip into an approval needs evidence to approve', () => {
  const blind: Ramping = { ...ramping, stage: 1, evidenceDigest: null };
  expect(refusalOf(aSpec(), blind, command('skip', operator, 40))?.message).toContain('no evidence yet');
});

test('a command needs a reason', () => {
  expect(refusalOf(aSpec(), ramping, { ...command('abort', operator, 40), reason: ' ' })?.message).toContain(
    'needs a reason',
  );
});

test('a refusal says what is taken instead', () => {
  expect(refusalOf(aSpec(), states.paused, command('pause', operator, 40))?.message).toBe(
    'the rollout of late-arrival v2 is paused and does not take "pause"; it takes resume, freeze, abort, rollback',
  );
});
