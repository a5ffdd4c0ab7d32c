import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { operator } from '../../../domain/rollout/rollout-fixtures.ts';
import { commandUpdates, monitorQuery, rolloutQuery, TASK_QUEUE_CONTROL } from '../../../workflows/messages.ts';
import type { monitorModel } from '../../../workflows/monitor-model.ts';
import type { rolloutModel } from '../../../workflows/rollout-model.ts';
import { eventually, within } from '../../setup/eventually.ts';
import { aQuickRollout, exchangeableActivities, fakeActivities, showing } from './fake-activities.ts';
import { startTemporalFixture, type TemporalFixture } from './temporal-fixture.ts';

let temporal: TemporalFixture;
const world = exchangeableActivities();

beforeAll(async () => {
  temporal = await startTemporalFixture({ continueAsNewAt: 100 });
  await temporal.startWorkers(world.activities);
});
afterEach(() => temporal.endWorkflows());
afterAll(() => temporal.stop());

/** Waits until the workflow has gone on in a run after `runId`. */
async function continued(workflowId: string, runId: string): Promise<string> {
  return eventually('it continues as new', async () => {
    const { runId: latest, status } = await temporal.client.workflow.getHandle(workflowId).describe();
    return status.name === 'RUNNING' && latest !== runId && latest;
  });
}

test('a rollout goes on in a new run where it stood: state, looks, records and the commands it has obeyed', async () => {
  const spec = aQuickRollout({ shadow: null, stages: aQuickRollout().policy.stages.slice(0, 1) });
  let verdict: 'hold' | 'advance' = 'hold';
  const fake = world.exchange(fakeActivities({ collectEvidence: showing(() => verdict) }));
  const first = await temporal.client.workflow.start<typeof rolloutModel>('rolloutModel', {
    workflowId: spec.rolloutId,
    taskQueue: TASK_QUEUE_CONTROL,
    args: [{ spec }],
  });
  const rollout = temporal.client.workflow.getHandle<typeof rolloutModel>(spec.rolloutId);
  const command = (type: 'pause' | 'resume') =>
    within(
      `"${type}" is answered`,
      rollout.executeUpdate(commandUpdates[type], {
        args: [{ commandId: `the ${type}`, command: { type, actor: operator, reason: 'a test' } }],
      }),
    );
  await eventually('it looks', async () => (await rollout.query(rolloutQuery)).looks >= 2);
  expect(await command('pause')).toMatchObject({ phase: 'paused' });
  expect(await command('resume')).toMatchObject({ phase: 'ramping' });
  await continued(spec.rolloutId, first.firstExecutionRunId);

  expect(await command('pause'), 'the same pause again').toMatchObject({ phase: 'ramping' });
  const { state, looks } = await within('the query', rollout.query(rolloutQuery));
  expect(state).toMatchObject({ phase: 'ramping', weightPercent: 5 });
  expect(looks).toBeGreaterThanOrEqual(2);
  const metadata = await within(
    'the metadata',
    rollout.query<{ currentDetails?: string }>('__temporal_workflow_metadata'),
  );
  expect(metadata.currentDetails).toMatch(/stage 1 of 1 with 5 %/);

  verdict = 'advance';
  expect(await within('the rollout ends', rollout.result())).toMatchObject({ outcome: 'promoted' });
  expect(fake.of('openRollout')).toHaveLength(1);
  const records = fake.of('recordDecision');
  expect(records.map(({ kind }) => kind)).toEqual([
    'started',
    'stageStarted',
    'paused',
    'resumed',
    'promoted',
    'watchClosed',
  ]);
  expect(records.map(({ idempotencyKey }) => idempotencyKey)).toEqual(
    records.map((_, index) => `${spec.rolloutId}/${index + 1}`),
  );
  const numbers = fake.of('collectEvidence').map(({ look }) => look);
  // a look that a command or a new run interrupted is made again under its number
  expect(new Set(numbers)).toEqual(new Set(Array.from({ length: numbers.at(-1)! }, (_, index) => index + 1)));
});

test('a monitor goes on in a new run from the end of its last window', async () => {
  const fake = world.exchange(
    fakeActivities({
      getMonitorPlan: () => Promise.resolve({ everyMs: 1 }),
      runMonitors: ({ after }) =>
        Promise.resolve({ windowEnd: (after ?? 1_000) + 1, findings: ['the score: has shifted'] }),
    }),
  );
  const { firstExecutionRunId, workflowId } = await temporal.client.workflow.start<typeof monitorModel>(
    'monitorModel',
    {
      workflowId: 'monitor/late-arrival',
      taskQueue: TASK_QUEUE_CONTROL,
      args: [{ model: 'late-arrival' }],
    },
  );
  await continued(workflowId, firstExecutionRunId);
  const monitor = temporal.client.workflow.getHandle<typeof monitorModel>(workflowId);
  const status = await within('the query', monitor.query(monitorQuery));
  expect(status.windows).toBeGreaterThan(0);
  expect(status).toMatchObject({ lastWindowEnd: 1_000 + status.windows, lastFindings: ['the score: has shifted'] });
  const windows = fake.of('runMonitors').map(({ after }) => after);
  expect(windows).toEqual(windows.map((_, index) => (index === 0 ? null : 1_000 + index)));
});
