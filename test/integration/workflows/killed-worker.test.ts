import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { compiledModule } from '../../../domain/compiled-module.ts';
import { operator } from '../../../domain/rollout/rollout-fixtures.ts';
import { commandUpdates, rolloutQuery, TASK_QUEUE_CONTROL } from '../../../workflows/messages.ts';
import type { rolloutModel } from '../../../workflows/rollout-model.ts';
import { eventually, within } from '../../setup/eventually.ts';
import { aQuickRollout, type Call, fakeActivities } from './fake-activities.ts';
import { startTemporalFixture, type TemporalFixture } from './temporal-fixture.ts';
import type { WorkerMessage } from './worker-process.ts';

let temporal: TemporalFixture;
let child: ChildProcess | undefined;

beforeAll(async () => {
  temporal = await startTemporalFixture();
});
afterEach(() => child?.kill('SIGKILL'));
afterAll(() => temporal.stop());

test('a worker that is killed in the middle of a stage is followed by another, which goes on where it was', async () => {
  const messages: WorkerMessage[] = [];
  child = fork(fileURLToPath(compiledModule(import.meta.url, './worker-process.ts')), [temporal.address]);
  child.on('message', (message) => messages.push(message as WorkerMessage));
  await eventually('the first worker is ready', () => messages.includes('ready'));
  // only one look in the time of this test, however slow: nothing is under way when the worker dies
  const spec = aQuickRollout({
    lookEveryMs: 3_600_000,
    shadow: null,
    stages: aQuickRollout().policy.stages.slice(0, 1),
  });
  const rollout = await temporal.client.workflow.start<typeof rolloutModel>('rolloutModel', {
    workflowId: spec.rolloutId,
    taskQueue: TASK_QUEUE_CONTROL,
    args: [{ spec }],
  });
  await eventually('the stage’s clock runs', async () => {
    const { state } = await rollout.query(rolloutQuery);
    return state.phase === 'ramping' && state.clockStartedAt !== null;
  });
  const first = () => messages.filter((message): message is Call => message !== 'ready');
  await eventually('its state is saved', () => first().filter(({ name }) => name === 'saveRollout').length === 2);

  const dead = once(child, 'exit');
  child.kill('SIGKILL');
  await within('the first worker is dead', dead);
  const second = fakeActivities();
  await temporal.startWorkers(second.activities);

  const answer = rollout.executeUpdate(commandUpdates.skip, {
    args: [{ commandId: 'skip it', command: { type: 'skip', actor: operator, reason: 'a test' } }],
  });
  expect(await within('the skip is answered', answer)).toMatchObject({ phase: 'watching' });
  expect(await within('the rollout ends', rollout.result())).toMatchObject({ outcome: 'promoted' });
  const records = [...first(), ...second.calls]
    .filter(({ name }) => name === 'recordDecision')
    .map(({ input }) => input as { kind: string; idempotencyKey: string });
  expect(records.map(({ kind }) => kind)).toEqual(['started', 'stageStarted', 'skipped', 'promoted', 'watchClosed']);
  expect(records.map(({ idempotencyKey }) => idempotencyKey)).toEqual(
    records.map((_, index) => `${spec.rolloutId}/${index + 1}`),
  );
  expect(second.of('openRollout')).toEqual([]);
  expect(second.of('setRoute')).toEqual([]);
});
