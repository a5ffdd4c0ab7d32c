import { Context } from '@temporalio/activity';
import { expect, test } from 'vitest';
import type { Verdict } from '../../../domain/rollout/evidence.ts';
import type { RolloutPolicy } from '../../../domain/rollout/policy.ts';
import { approver, author, viewer } from '../../../domain/rollout/rollout-fixtures.ts';
import type { CommandType, RolloutPhase } from '../../../domain/rollout/state.ts';
import { commandUpdates } from '../../../workflows/messages.ts';
import { eventually, within } from '../../setup/eventually.ts';
import { aQuickRollout, showing } from './fake-activities.ts';
import {
  CANARY,
  command,
  effects,
  ended,
  FULL,
  hostRollouts,
  order,
  reaches,
  refusal,
  SHORT,
  start,
  view,
} from './rollout-driver.ts';

hostRollouts();

test('an approval by the author, without the role or for other evidence is refused and leaves no trace', async () => {
  const { rollout, fake } = await start(aQuickRollout());
  const { state } = await reaches(rollout, 'awaitingApproval');
  const { evidenceDigest } = state as { evidenceDigest: string };
  const before = await eventually('the approvers are asked', () => effects(fake).at(-1) === 'ask' && effects(fake));
  expect(await refusal(rollout, 'approve', { by: author, evidenceDigest })).toBe('APPROVAL_BY_AUTHOR');
  expect(await refusal(rollout, 'approve', { by: viewer, evidenceDigest })).toBe('FORBIDDEN');
  expect(await refusal(rollout, 'approve', { by: approver, evidenceDigest: 'sha256:other' })).toBe('APPROVAL_STALE');
  expect(await refusal(rollout, 'resume')).toBe('COMMAND_REFUSED');
  expect((await view(rollout)).state).toMatchObject({ phase: 'awaitingApproval', approvals: [] });
  expect(effects(fake)).toEqual(before);
  expect(await command(rollout, 'approve', { by: approver, evidenceDigest })).toMatchObject({ phase: 'watching' });
});

test('a command that is sent twice with one id is obeyed once, and both senders are told so', async () => {
  const { rollout, fake } = await start(aQuickRollout(), { collectEvidence: showing('hold') });
  await reaches(rollout, 'shadowing');
  const twice = await Promise.all([
    command(rollout, 'pause', { commandId: 'once' }),
    command(rollout, 'pause', { commandId: 'once' }),
  ]);
  expect(twice.map(({ phase }) => phase)).toEqual(['paused', 'paused']);
  await command(rollout, 'resume');
  expect(await command(rollout, 'pause', { commandId: 'once' })).toMatchObject({ phase: 'paused' });
  expect((await view(rollout)).state.phase).toBe('shadowing');
  expect(effects(fake).filter((effect) => effect === 'record paused')).toHaveLength(1);
});

test('a pause keeps the weight and what the evidence would allow; a resume goes on from there', async () => {
  let verdict: 'hold' | 'advance' = 'hold';
  const { rollout, fake } = await start(aQuickRollout(SHORT), {
    collectEvidence: showing(() => verdict),
  });
  await reaches(rollout, 'ramping');
  await command(rollout, 'pause');
  verdict = 'advance';
  const looks = fake.of('collectEvidence').length;
  await eventually('looks while paused', () => fake.of('collectEvidence').length >= looks + 3);
  expect((await view(rollout)).state).toMatchObject({
    phase: 'paused',
    resumeTo: { phase: 'ramping', weightPercent: 5 },
  });
  expect(effects(fake).at(-1)).toBe('record paused');
  await command(rollout, 'resume');
  expect(await ended(rollout)).toMatchObject({ outcome: 'promoted' });
});

test('a command that comes while effects are being carried out is answered after them', async () => {
  let release: (() => void) | undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  let epoch = 1;
  const { rollout, fake } = await start(aQuickRollout(), {
    collectEvidence: showing(({ phase }) => (phase === 'shadow' ? 'advance' : 'hold')),
    async setRoute({ target }) {
      if (target.kind === 'canary') await released;
      return { epoch: (epoch += 1) };
    },
  });
  await eventually('the route is being set', () => effects(fake).includes('5 %'));
  const pausing = await within(
    'the pause is accepted',
    rollout.startUpdate(commandUpdates.pause, { args: [order('pause')], waitForStage: 'ACCEPTED' }),
  );
  expect(effects(fake)).not.toContain('record paused');
  release?.();
  expect(await within('the pause is answered', pausing.result())).toMatchObject({ phase: 'paused' });
  expect(effects(fake).slice(-3)).toEqual(['5 %', 'record stageStarted', 'record paused']);
});

test('a command does not wait for a look that does not end', async () => {
  const { rollout, fake } = await start(aQuickRollout(), {
    collectEvidence: () => Context.current().cancelled,
  });
  await eventually('a look begins', () => fake.of('collectEvidence').length > 0);
  expect(await command(rollout, 'abort')).toMatchObject({ phase: 'rollingBack' });
  expect(await ended(rollout)).toMatchObject({ outcome: 'rolledBack' });
});

const ASKING = { stages: [{ ...CANARY, approval: FULL.approval! }] };
const ABORTS: {
  phase: RolloutPhase;
  policy: Partial<RolloutPolicy>;
  verdict: Verdict;
  way: readonly CommandType[];
  back: string;
}[] = [
  { phase: 'shadowing', policy: {}, verdict: 'hold', way: [], back: 'championOnly' },
  { phase: 'ramping', policy: SHORT, verdict: 'hold', way: [], back: 'championOnly' },
  { phase: 'awaitingApproval', policy: ASKING, verdict: 'advance', way: [], back: 'championOnly' },
  { phase: 'paused', policy: SHORT, verdict: 'hold', way: ['pause'], back: 'championOnly' },
  { phase: 'frozen', policy: SHORT, verdict: 'hold', way: ['freeze'], back: 'championOnly' },
  { phase: 'watching', policy: SHORT, verdict: 'advance', way: [], back: 'routeToLastKnownGood' },
];
test.each(ABORTS)(
  'an abort while $phase takes the traffic back and ends the rollout',
  async ({ phase, policy, verdict, way, back }) => {
    const { rollout, fake } = await start(aQuickRollout({ ...policy, watch: { durationMs: 3_600_000 } }), {
      collectEvidence: showing(verdict),
    });
    for (const interruption of way) {
      await reaches(rollout, 'ramping');
      await command(rollout, interruption);
    }
    await reaches(rollout, phase);
    expect((await command(rollout, 'abort')).phase).toBe('rollingBack');
    expect(await ended(rollout)).toMatchObject({ outcome: 'rolledBack', reason: 'abort in a test' });
    expect(effects(fake).slice(-4)).toEqual([back, 'record rollbackStarted', 'v2 → archived', 'record rolledBack']);
    expect((await view(rollout)).state.phase).toBe('rolledBack');
  },
);
