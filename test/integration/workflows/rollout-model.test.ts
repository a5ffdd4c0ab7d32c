import { activityInfo, Context } from '@temporalio/activity';
import { expect, test } from 'vitest';
import { SerinError } from '../../../domain/errors.ts';
import { eventually, within } from '../../setup/eventually.ts';
import { aQuickRollout, showing } from './fake-activities.ts';
import {
  approveWhenAsked,
  effects,
  ended,
  hostRollouts,
  reaches,
  replaceWorkers,
  SHORT,
  start,
  view,
} from './rollout-driver.ts';

hostRollouts();

test('a sound version goes from shadow over 5 % and 20 % and its approval to champion, one effect after the other', async () => {
  const { rollout, fake } = await start(aQuickRollout());
  const answer = await approveWhenAsked(rollout);
  expect(answer.phase).toBe('watching');
  expect(await ended(rollout)).toMatchObject({ outcome: 'promoted' });
  expect(effects(fake)).toEqual([
    'record started',
    'shadow',
    'v2 → candidate',
    '5 %',
    'record stageStarted',
    '20 %',
    'record stageStarted',
    'record approvalRequested',
    'ask',
    'record approved',
    'promote',
    'v2 → production',
    'record promoted',
    'v1 → archived',
    'record watchClosed',
  ]);
  expect(fake.of('openRollout')).toHaveLength(1);
  expect(fake.of('recordDecision').map(({ idempotencyKey }) => idempotencyKey.split('/').at(-1))).toEqual([
    '1',
    '2',
    '3',
    '4',
    '5',
    '6',
    '7',
  ]);
  expect(fake.of('saveRollout').at(-1)).toMatchObject({
    state: { phase: 'promoted' },
    endedAt: expect.any(Number) as number,
  });
});

test('looks are numbered without gaps and carry the weight of every epoch so far', async () => {
  const { rollout, fake } = await start(aQuickRollout(SHORT));
  await ended(rollout);
  const looks = fake.of('collectEvidence');
  expect(looks.map(({ look }) => look)).toEqual(looks.map((_, index) => index + 1));
  expect(looks[0]).toMatchObject({ look: 1, phase: 'stage:0', epochs: [{ epoch: 2, weightPercent: 5 }] });
});

test('a query tells where it stands, search attributes and current details are set', async () => {
  const spec = aQuickRollout();
  const { rollout } = await start(spec, {
    collectEvidence: showing(({ phase }) => (phase === 'shadow' ? 'advance' : 'hold')),
  });
  const seen = await reaches(rollout, 'ramping');
  expect(seen.spec).toEqual(spec);
  expect(seen.details).toMatch(/stage 1 of 3 with 5 % of the traffic/);
  const attributes = await eventually('the stage is tagged', async () => {
    const { typedSearchAttributes } = await rollout.describe();
    const found = Object.fromEntries(typedSearchAttributes.getAll().map(({ key, value }) => [key.name, value]));
    return found['Stage'] === '5 %' && found;
  });
  expect(attributes).toMatchObject({ ModelName: spec.model, ModelVersion: 'v2', Stage: '5 %', Decision: 'under way' });
  const metadata = await within(
    'the metadata',
    rollout.query<{ currentDetails?: string }>('__temporal_workflow_metadata'),
  );
  expect(metadata.currentDetails).toMatch(/\*\*late-arrival-\d+ v2\*\*: stage 1 of 3/);
});

test('the clock of a stage starts when the nodes have taken the route: no evidence moves it before', async () => {
  let acknowledge: (() => void) | undefined;
  const acknowledged = new Promise<void>((resolve) => (acknowledge = resolve));
  const { rollout, fake } = await start(aQuickRollout(SHORT), { awaitAcknowledgement: () => acknowledged });
  await eventually('some looks', () => fake.of('collectEvidence').length >= 5);
  expect(effects(fake)).toEqual(['record started', 'v2 → candidate', '5 %', 'record stageStarted']);
  acknowledge?.();
  expect(await ended(rollout)).toMatchObject({ outcome: 'promoted' });
});

// ---- what goes wrong ----------------------------------------------------------------------------------------------------

test('harm in the evidence rolls back, with its sentence as the reason', async () => {
  const { rollout, fake } = await start(aQuickRollout(), {
    collectEvidence: showing(({ phase }) => (phase === 'stage:0' ? 'rollback' : 'advance')),
  });
  expect(await ended(rollout)).toMatchObject({ outcome: 'rolledBack', reason: 'errors say rollback' });
  expect(effects(fake).slice(-5)).toEqual([
    'record stageStarted',
    'championOnly',
    'record rollbackStarted',
    'v2 → archived',
    'record rolledBack',
  ]);
});

test('harm in the watch takes the champion back', async () => {
  const { rollout, fake } = await start(aQuickRollout({ ...SHORT, watch: { durationMs: 3_600_000 } }), {
    collectEvidence: showing(({ phase }) => (phase === 'watch' ? 'rollback' : 'advance')),
  });
  expect(await ended(rollout)).toMatchObject({ outcome: 'rolledBack' });
  expect(effects(fake)).toContain('routeToLastKnownGood');
});

test('a stage that has not decided by its deadline rolls back where the policy says so', async () => {
  const { rollout } = await start(
    aQuickRollout({ shadow: { minRequests: 1, minDurationMs: 0, maxDurationMs: 200, maxErrorRate: 0.01 } }),
    {
      collectEvidence: showing('hold'),
    },
  );
  expect(await ended(rollout)).toMatchObject({
    outcome: 'rolledBack',
    reason: expect.stringContaining('the deadline of the shadow stage passed') as string,
  });
});

test('an effect that fails for good rolls back', async () => {
  let epoch = 1;
  const { rollout, fake } = await start(aQuickRollout(), {
    setRoute({ target }) {
      if (target.kind === 'canary') throw new SerinError('ROUTE_EPOCH_CONFLICT', 'another rollout owns the route');
      return Promise.resolve({ epoch: (epoch += 1) });
    },
  });
  expect(await ended(rollout)).toMatchObject({
    outcome: 'rolledBack',
    reason: 'the route could not be set: another rollout owns the route',
  });
  expect(effects(fake)).toEqual([
    'record started',
    'shadow',
    'v2 → candidate',
    '5 %',
    'championOnly',
    'record rollbackStarted',
    'v2 → archived',
    'record rolledBack',
  ]);
});

test('evidence that cannot be trusted holds: nothing moves', async () => {
  const { rollout, fake } = await start(aQuickRollout(SHORT), { collectEvidence: showing('void') });
  await reaches(rollout, 'ramping');
  const looks = fake.of('collectEvidence').length;
  await eventually('more looks', () => fake.of('collectEvidence').length >= looks + 5);
  expect((await view(rollout)).state).toMatchObject({ phase: 'ramping', stage: 0, weightPercent: 5, verdict: 'void' });
  expect(effects(fake).slice(-2)).toEqual(['5 %', 'record stageStarted']);
});

test('evidence that cannot be collected is none: the stage holds, and goes on when it can', async () => {
  let failures = 0;
  const { rollout } = await start(aQuickRollout(SHORT), {
    collectEvidence(look) {
      if (failures === 3) return showing('advance')(look);
      failures += 1;
      return Promise.reject(new SerinError('MODEL_NOT_FOUND', 'the project declares no such model any more'));
    },
  });
  expect(await ended(rollout)).toMatchObject({ outcome: 'promoted' });
  expect(failures).toBe(3);
});

test('a version that cannot be rolled out fails the workflow before any effect', async () => {
  const { rollout, fake } = await start(aQuickRollout(), {
    openRollout: () => Promise.reject(new SerinError('ROLLOUT_ACTIVE', 'the model has a rollout under way')),
  });
  await expect(ended(rollout)).rejects.toMatchObject({ cause: { cause: { type: 'ROLLOUT_ACTIVE' } } });
  expect(effects(fake)).toEqual([]);
});

test('a cancelled rollout is an aborted one: the traffic is taken back', async () => {
  const { rollout, fake } = await start(aQuickRollout(SHORT), { collectEvidence: showing('hold') });
  await reaches(rollout, 'ramping');
  await rollout.cancel();
  expect(await ended(rollout)).toMatchObject({ outcome: 'rolledBack' });
  expect(effects(fake).slice(-4)).toEqual([
    'championOnly',
    'record rollbackStarted',
    'v2 → archived',
    'record rolledBack',
  ]);
});

// ---- what survives ------------------------------------------------------------------------------------------------------

test('a worker that stops in the middle of an effect is followed by another: the same end, nothing recorded twice', async () => {
  const records = new Map<string, unknown[]>();
  let cut: (() => void) | undefined;
  const cutOff = new Promise<void>((resolve) => (cut = resolve));
  const { rollout, fake } = await start(aQuickRollout(SHORT), {
    async recordDecision(decision) {
      records.set(decision.idempotencyKey, [...(records.get(decision.idempotencyKey) ?? []), decision]);
      if (decision.kind !== 'stageStarted' || activityInfo().attempt > 1 || records.size > 2) return;
      // the record is written, and the worker goes before it can say so
      cut?.();
      await Context.current().cancelled;
    },
  });
  await within('the effect is under way', cutOff);
  await replaceWorkers();
  expect(await ended(rollout)).toMatchObject({ outcome: 'promoted' });
  for (const same of records.values()) expect(new Set(same.map((decision) => JSON.stringify(decision))).size).toBe(1);
  expect([...records.values()].map((same) => same.length)).toEqual([1, 2, 1, 1]);
  expect(effects(fake).filter((effect) => !effect.startsWith('record'))).toEqual([
    'v2 → candidate',
    '5 %',
    'promote',
    'v2 → production',
    'v1 → archived',
  ]);
});
