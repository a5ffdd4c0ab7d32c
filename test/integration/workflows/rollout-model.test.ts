import { ApplicationFailure } from '@temporalio/common';
import { type WorkflowHandleWithFirstExecutionRunId, WorkflowUpdateFailedError } from '@temporalio/client';
import { activityInfo, Context } from '@temporalio/activity';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { SerinError } from '../../../domain/errors.ts';
import { approver, author, operator, viewer } from '../../../domain/rollout/rollout-fixtures.ts';
import type { Verdict } from '../../../domain/rollout/evidence.ts';
import type { RampStage, RolloutPolicy } from '../../../domain/rollout/policy.ts';
import type { Actor, CommandType, RolloutPhase, RolloutSpec } from '../../../domain/rollout/state.ts';
import {
  type CommandResult,
  commandUpdates,
  type RolloutView,
  rolloutQuery,
  TASK_QUEUE_CONTROL,
} from '../../../workflows/messages.ts';
import type { rolloutModel } from '../../../workflows/rollout-model.ts';
import { eventually, within } from '../../setup/eventually.ts';
import {
  aQuickRollout,
  exchangeableActivities,
  type FakeActivities,
  fakeActivities,
  showing,
} from './fake-activities.ts';
import { type RunningWorkers, startTemporalFixture, type TemporalFixture } from './temporal-fixture.ts';

type Rollout = WorkflowHandleWithFirstExecutionRunId<typeof rolloutModel>;

let temporal: TemporalFixture;
let workers: RunningWorkers;
const world = exchangeableActivities();

beforeAll(async () => {
  temporal = await startTemporalFixture();
});
beforeEach(async () => {
  workers ??= await temporal.startWorkers(world.activities);
});
afterEach(() => temporal.endWorkflows());
afterAll(() => temporal.stop());

async function start(
  spec: RolloutSpec,
  overrides: Parameters<typeof fakeActivities>[0] = {},
): Promise<{ rollout: Rollout; fake: FakeActivities }> {
  const fake = world.exchange(fakeActivities(overrides));
  const rollout = await temporal.client.workflow.start<typeof rolloutModel>('rolloutModel', {
    workflowId: spec.rolloutId,
    taskQueue: TASK_QUEUE_CONTROL,
    args: [{ spec }],
  });
  return { rollout, fake };
}

const ended = (rollout: Rollout) => within('the rollout ends', rollout.result());
const view = (rollout: Rollout): Promise<RolloutView> => within('the query is answered', rollout.query(rolloutQuery));

async function reaches(rollout: Rollout, phase: RolloutPhase): Promise<RolloutView> {
  return eventually(`the rollout is ${phase}`, async () => {
    const seen = await view(rollout);
    return seen.state.phase === phase && seen;
  });
}

let commands = 0;

interface Order {
  readonly by?: Actor;
  readonly evidenceDigest?: string;
  readonly commandId?: string;
}

const order = (
  type: CommandType,
  { by = operator, evidenceDigest, commandId = `command-${(commands += 1)}` }: Order = {},
) => ({
  commandId,
  command: { type, actor: by, reason: `${type} in a test`, ...(evidenceDigest !== undefined && { evidenceDigest }) },
});

function command(rollout: Rollout, type: CommandType, options: Order = {}): Promise<CommandResult> {
  return within(`"${type}" is answered`, rollout.executeUpdate(commandUpdates[type], { args: [order(type, options)] }));
}

/** The code of the problem with which a command is refused. */
async function refusal(rollout: Rollout, type: CommandType, options: Order = {}): Promise<string | null | undefined> {
  const error: unknown = await command(rollout, type, options).then(
    () => expect.fail(`"${type}" was obeyed`),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(WorkflowUpdateFailedError);
  const { cause } = error as WorkflowUpdateFailedError;
  expect(cause).toBeInstanceOf(ApplicationFailure);
  return (cause as ApplicationFailure).type;
}

async function approveWhenAsked(rollout: Rollout): Promise<CommandResult> {
  const { state } = await reaches(rollout, 'awaitingApproval');
  if (state.phase !== 'awaitingApproval') throw new Error(`it is ${state.phase}`);
  return command(rollout, 'approve', { by: approver, evidenceDigest: state.evidenceDigest });
}

/** What was done, one short text per effect, in order. Looks, saves and waits for nodes are not effects. */
function effects({ calls }: FakeActivities): string[] {
  return calls.flatMap(({ name, input }): string[] => {
    const given = input as Record<string, unknown>;
    switch (name) {
      case 'setRoute': {
        const target = given['target'] as { kind: string; weightPercent?: number };
        return [target.kind === 'canary' ? `${target.weightPercent} %` : target.kind];
      }
      case 'promote':
      case 'routeToLastKnownGood':
        return [name];
      case 'transitionStage':
        return [`v${String(given['version'])} → ${String(given['to'])}`];
      case 'recordDecision':
        return [`record ${String(given['kind'])}`];
      case 'notifyApprovers':
        return ['ask'];
      default:
        return [];
    }
  });
}

const holdingIn = (phase: string) => showing((look) => (look.phase === phase ? 'hold' : 'advance'));

const [CANARY, , FULL] = aQuickRollout().policy.stages as [RampStage, RampStage, RampStage];
/** For what does not depend on the number of stages: 5 %, then the promotion. */
const SHORT = { shadow: null, stages: [CANARY] };

// ---- the way through ----------------------------------------------------------------------------------------------------

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
  const { rollout } = await start(spec, { collectEvidence: holdingIn('stage:0') });
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

// ---- commands -----------------------------------------------------------------------------------------------------------

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
    collectEvidence: holdingIn('stage:0'),
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
    const { rollout, fake } = await start(aQuickRollout({ ...policy, watch: { durationMs: 60_000 } }), {
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
  const { rollout, fake } = await start(aQuickRollout({ ...SHORT, watch: { durationMs: 60_000 } }), {
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
  await workers.stop();
  workers = await temporal.startWorkers(world.activities);
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
