import { activityInfo, Context, heartbeat } from '@temporalio/activity';
import type { WorkflowHandle, WorkflowResultType } from '@temporalio/client';
import type { Workflow } from '@temporalio/common';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { SerinError } from '../../../domain/errors.ts';
import { monitorQuery, TASK_QUEUE_CONTROL } from '../../../workflows/messages.ts';
import type { buildDataset } from '../../../workflows/build-dataset.ts';
import type { compactLog } from '../../../workflows/compact-log.ts';
import type { ingestSource } from '../../../workflows/ingest-source.ts';
import type { materializeFeatures } from '../../../workflows/materialize-features.ts';
import type { modelLifecycle } from '../../../workflows/model-lifecycle.ts';
import type { monitorModel } from '../../../workflows/monitor-model.ts';
import type { rollbackModel } from '../../../workflows/rollback-model.ts';
import type { trainModel } from '../../../workflows/train-model.ts';
import { eventually, within } from '../../setup/eventually.ts';
import {
  aQuickRollout,
  exchangeableActivities,
  type FakeActivities,
  fakeActivities,
  showing,
} from './fake-activities.ts';
import { startTemporalFixture, type TemporalFixture } from './temporal-fixture.ts';

let temporal: TemporalFixture;
const world = exchangeableActivities();

beforeAll(async () => {
  temporal = await startTemporalFixture();
  await temporal.startWorkers(world.activities);
});
afterEach(() => temporal.endWorkflows());
afterAll(() => temporal.stop());

interface Types {
  buildDataset: typeof buildDataset;
  ingestSource: typeof ingestSource;
  materializeFeatures: typeof materializeFeatures;
  modelLifecycle: typeof modelLifecycle;
  monitorModel: typeof monitorModel;
  rollbackModel: typeof rollbackModel;
  trainModel: typeof trainModel;
}

let started = 0;

async function start<Name extends keyof Types>(
  type: Name,
  input: Parameters<Types[Name]>[0],
  overrides: Parameters<typeof fakeActivities>[0] = {},
): Promise<{ handle: WorkflowHandle<Types[Name]>; fake: FakeActivities }> {
  const fake = world.exchange(fakeActivities(overrides));
  return { handle: await begin(type, input), fake };
}

async function begin<Name extends keyof Types>(
  type: Name,
  input: Parameters<Types[Name]>[0],
): Promise<WorkflowHandle<Types[Name]>> {
  const handle = await temporal.client.workflow.start(type, {
    workflowId: `${type}/${(started += 1)}`,
    taskQueue: TASK_QUEUE_CONTROL,
    args: [input],
  });
  return handle as unknown as WorkflowHandle<Types[Name]>;
}

const result = <W extends Workflow>(handle: WorkflowHandle<W>): Promise<WorkflowResultType<W>> =>
  within('the workflow ends', handle.result());

/** Cancels, and comes back when the workflow has heard of it: a query is answered after what came before. */
async function cancelled(handle: WorkflowHandle): Promise<void> {
  await handle.cancel();
  await within('the query', handle.query('__temporal_workflow_metadata'));
}
const names = ({ calls }: FakeActivities) => calls.map(({ name }) => name);
const aTraining = { model: 'late-arrival', training: 'trees', author: 'ada' };
const GATED = { verdict: 'fail', sentences: ['leakage (fail): a column knows the label'] } as const;

// ---- trainModel ---------------------------------------------------------------------------------------------------------

test('a run that passes its gates becomes a version', async () => {
  const { handle, fake } = await start('trainModel', aTraining);
  expect(await result(handle)).toMatchObject({
    verdict: 'pass',
    version: 2,
    dataset: 'sha256-of-the-dataset',
    stoppedBy: [],
  });
  expect(names(fake)).toEqual([
    'openRun',
    'buildDataset',
    'decideGates',
    'train',
    'evaluate',
    'decideGates',
    'registerVersion',
  ]);
  expect(fake.of('decideGates').map(({ kinds }) => kinds)).toEqual(['dataset', 'all']);
  expect(fake.of('openRun')[0]).toEqual({ ...aTraining, key: (await handle.describe()).runId });
});

test('a dataset that its gates stop is never trained on', async () => {
  const { handle, fake } = await start('trainModel', aTraining, { decideGates: () => Promise.resolve(GATED) });
  expect(await result(handle)).toMatchObject({ verdict: 'fail', version: null, stoppedBy: GATED.sentences });
  expect(names(fake)).toEqual(['openRun', 'buildDataset', 'decideGates']);
});

test('a run that its evaluation gates stop is not registered', async () => {
  const { handle, fake } = await start('trainModel', aTraining, {
    decideGates: ({ kinds }) => Promise.resolve(kinds === 'all' ? GATED : { verdict: 'pass', sentences: [] }),
  });
  expect(await result(handle)).toMatchObject({ verdict: 'fail', version: null });
  expect(names(fake)).not.toContain('registerVersion');
  expect(names(fake)).not.toContain('failRun');
});

test('a failure marks the run failed, once and with the reason that the activity gave', async () => {
  const { handle, fake } = await start('trainModel', aTraining, {
    buildDataset: () => Promise.reject(new SerinError('DATASET_EMPTY', 'no row of the spine lies in the split')),
  });
  await expect(result(handle)).rejects.toThrow('Workflow execution failed');
  expect(fake.of('failRun')).toMatchObject([{ failure: 'no row of the spine lies in the split' }]);
});

test('a training that fails for the moment is tried again', async () => {
  const { handle, fake } = await start('trainModel', aTraining, {
    train: () => (activityInfo().attempt === 1 ? Promise.reject(new Error('out of luck')) : Promise.resolve()),
  });
  expect(await result(handle)).toMatchObject({ version: 2 });
  expect(fake.of('train')).toHaveLength(2);
  expect(names(fake)).not.toContain('failRun');
});

test('a cancellation reaches the training, and the run is marked only when the training has ended', async () => {
  const seen: string[] = [];
  let clean: (() => void) | undefined;
  const cleaned = new Promise<void>((resolve) => (clean = resolve));
  const { handle, fake } = await start('trainModel', aTraining, {
    async train() {
      const beat = setInterval(() => heartbeat(), 50);
      try {
        await Context.current().cancelled;
      } finally {
        clearInterval(beat);
        seen.push('told to stop');
        await cleaned;
        seen.push('training ended');
      }
    },
    failRun({ failure }) {
      seen.push(`run failed: ${failure}`);
      return Promise.resolve();
    },
  });
  await eventually('the training is under way', () => fake.of('train').length === 1);
  await handle.cancel();
  await eventually('the training is told', () => seen.length > 0);
  expect(seen).toEqual(['told to stop']);
  clean?.();
  await expect(result(handle)).rejects.toThrow('Workflow execution cancelled');
  expect(seen).toEqual(['told to stop', 'training ended', 'run failed: cancelled']);
});

test('a cancellation while the run is being opened leaves no run open', async () => {
  let open: (() => void) | undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  const { handle, fake } = await start('trainModel', aTraining, {
    async openRun() {
      await opened;
      return { runId: 'the-run', project: 'flights', projectDigest: 'd' };
    },
  });
  await eventually('the run is being opened', () => fake.of('openRun').length === 1);
  await cancelled(handle);
  open?.();
  await expect(result(handle)).rejects.toThrow('Workflow execution cancelled');
  expect(fake.of('failRun')).toEqual([{ runId: 'the-run', failure: 'cancelled' }]);
  expect(names(fake)).not.toContain('buildDataset');
});

test('a cancellation during the registration does not part the run from its version', async () => {
  let register: (() => void) | undefined;
  const registered = new Promise<void>((resolve) => (register = resolve));
  const { handle, fake } = await start('trainModel', aTraining, {
    async registerVersion() {
      await registered;
      return { version: 7 };
    },
  });
  await eventually('the version is being registered', () => fake.of('registerVersion').length === 1);
  await cancelled(handle);
  register?.();
  expect(await result(handle)).toMatchObject({ version: 7 });
  expect(names(fake)).not.toContain('failRun');
});

// ---- modelLifecycle -----------------------------------------------------------------------------------------------------

test('a lifecycle trains, plans and delivers', async () => {
  const { handle, fake } = await start('modelLifecycle', aTraining, {
    planRollout: ({ version }) =>
      Promise.resolve(aQuickRollout({ version, shadow: null, stages: aQuickRollout().policy.stages.slice(0, 1) })),
  });
  expect(await result(handle)).toMatchObject({ training: { version: 2 }, rollout: { outcome: 'promoted' } });
  expect(fake.of('planRollout')).toEqual([{ model: 'late-arrival', version: 2 }]);
});

test('a lifecycle whose training is stopped by its gates delivers nothing', async () => {
  const { handle, fake } = await start('modelLifecycle', aTraining, { decideGates: () => Promise.resolve(GATED) });
  expect(await result(handle)).toMatchObject({
    training: { version: null, stoppedBy: GATED.sentences },
    rollout: null,
  });
  expect(names(fake)).not.toContain('planRollout');
});

test('two lifecycles of one training that begin together do not get into each other’s way', async () => {
  let opened = 0;
  const { handle } = await start('modelLifecycle', aTraining, {
    async openRun({ key }) {
      opened += 1;
      await eventually('both runs are being opened', () => opened === 2);
      return { runId: key, project: 'flights', projectDigest: 'd' };
    },
    decideGates: () => Promise.resolve(GATED),
  });
  const both = await Promise.all([result(handle), result(await begin('modelLifecycle', aTraining))]);
  expect(new Set(both.map(({ training }) => training.runId)).size).toBe(2);
});

test('a rollout goes on by itself when the lifecycle that began it is cancelled', async () => {
  const spec = aQuickRollout({ shadow: null });
  const { handle, fake } = await start('modelLifecycle', aTraining, {
    planRollout: () => Promise.resolve(spec),
    collectEvidence: showing('hold'),
  });
  await eventually('the rollout looks', () => fake.of('collectEvidence').length > 0);
  await handle.cancel();
  await expect(result(handle)).rejects.toThrow('Workflow execution cancelled');
  const looks = fake.of('collectEvidence').length;
  await eventually('it goes on looking', () => fake.of('collectEvidence').length > looks + 2);
  expect(fake.of('setRoute')).toHaveLength(1);
});

// ---- data and operations ------------------------------------------------------------------------------------------------

test('a batch is ingested under its own name, and a second run of the workflow asks for the same', async () => {
  const batch = {
    source: 'departures',
    batchId: '2001-06',
    input: { kind: 'file', path: '/data/june.csv', format: 'csv' },
  } as const;
  const { handle, fake } = await start('ingestSource', batch);
  expect(await result(handle)).toMatchObject({ rowsIn: 3, rowsAccepted: 2, quarantined: { KEY_NULL: 1 } });
  expect(fake.of('ingestBatch')).toEqual([batch]);
});

test('a batch that cannot be read fails its workflow with the reason', async () => {
  const { handle } = await start(
    'ingestSource',
    { source: 'departures', batchId: 'b', input: { kind: 'pushed', upToSeq: 3 } },
    { ingestBatch: () => Promise.reject(new SerinError('INPUT_INVALID', 'the file cannot be read')) },
  );
  await expect(result(handle)).rejects.toMatchObject({ cause: { cause: { type: 'INPUT_INVALID' } } });
});

test('a batch that leaves a log of many files has it compacted, by one workflow at a time that outlives the batch', async () => {
  const due = { rowsIn: 1, rowsAccepted: 1, quarantined: {}, lastSeq: 1, alreadyThere: false, compactionDue: true };
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { handle, fake } = await start(
    'ingestSource',
    { source: 'departures', batchId: 'b1', input: { kind: 'pushed', upToSeq: 3 } },
    {
      ingestBatch: () => Promise.resolve(due),
      compactLog: async () => {
        await released;
        return { filesMerged: 9, rows: 90, files: 1 };
      },
    },
  );
  expect(await result(handle)).toMatchObject({ rowsAccepted: 1 });
  await eventually('the compaction runs', () => fake.of('compactLog').length === 1);
  const second = await begin('ingestSource', {
    source: 'departures',
    batchId: 'b2',
    input: { kind: 'pushed', upToSeq: 4 },
  });
  expect(await result(second)).toMatchObject({ rowsAccepted: 1 });
  release();
  const compaction = temporal.client.workflow.getHandle<typeof compactLog>('compact/departures');
  expect(await result(compaction)).toEqual({ filesMerged: 9, rows: 90, files: 1 });
  expect(fake.of('compactLog')).toEqual([{ source: 'departures' }]);
});

test('what was pushed to a source is logged before a view is built up to there in a shadow, checked and put in place', async () => {
  const { handle, fake } = await start(
    'materializeFeatures',
    { project: 'flights', foldAt: 5 },
    {
      listViews: () =>
        Promise.resolve([
          { view: 'a@1', source: 's' },
          { view: 'b@1', source: 's' },
          { view: 'c@1', source: 't' },
        ]),
      getLastSequence: ({ source }) => Promise.resolve({ lastSeq: source === 's' ? 7 : 9 }),
    },
  );
  expect((await result(handle)).views.map(({ viewId, appliedSeq }) => [viewId, appliedSeq])).toEqual([
    ['a@1', 7],
    ['b@1', 7],
    ['c@1', 9],
  ]);
  // the buffer is held before it is asked how far the log must go
  const ofView = [
    'openShadow',
    'getLastSequence',
    'ingestBatch',
    'fillShadow',
    'checkShadow',
    'swapShadow',
    'dropShadow',
  ];
  expect(names(fake)).toEqual(['listViews', ...ofView, ...ofView, ...ofView]);
  expect(fake.of('ingestBatch').map(({ input }) => input)).toEqual(
    [7, 7, 9].map((upToSeq) => ({ kind: 'pushed', upToSeq })),
  );
  const shadows = fake.of('openShadow').map(({ view, label }) => `${view}~${label}`);
  expect(fake.of('dropShadow').map(({ shadowId }) => shadowId)).toEqual(shadows);
});

test('a view that is not what the log gives is not put in place, and its shadow is dropped', async () => {
  const { handle, fake } = await start(
    'materializeFeatures',
    { project: 'flights', foldAt: 5 },
    {
      listViews: () => Promise.resolve([{ view: 'a@1', source: 's' }]),
      checkShadow: () => Promise.reject(new SerinError('MATERIALIZATION_MISMATCH', 'one key differs')),
    },
  );
  await expect(result(handle)).rejects.toThrow('Workflow execution failed');
  expect(names(fake).slice(-2)).toEqual(['checkShadow', 'dropShadow']);
  expect(names(fake)).not.toContain('swapShadow');
});

test('a view that was built while an entity was forgotten is built again', async () => {
  const verdicts = ['outdated', 'good'] as const;
  let swaps = 0;
  const { handle, fake } = await start(
    'materializeFeatures',
    { project: 'flights', foldAt: 5 },
    {
      listViews: () => Promise.resolve([{ view: 'a@1', source: 's' }]),
      swapShadow: () => Promise.resolve({ verdict: verdicts[swaps++]! }),
    },
  );
  expect((await result(handle)).views).toHaveLength(1);
  const shadows = fake.of('swapShadow').map(({ shadowId }) => shadowId);
  expect(new Set(shadows).size).toBe(2);
  expect(fake.of('dropShadow').map(({ shadowId }) => shadowId)).toEqual(shadows);
});

test('a file whose rows are in views in use has them built again by a workflow of its own, one for many files', async () => {
  let building: (() => void) | undefined;
  const held = new Promise<void>((resolve) => (building = resolve));
  const stale = [['a@1'], ['a@1'], []];
  const arrives = {
    ingestBatch: () =>
      Promise.resolve({
        rowsIn: 1,
        rowsAccepted: 1,
        quarantined: {},
        lastSeq: 2,
        alreadyThere: false,
        refreshDue: true,
      }),
    listStaleViews: () =>
      Promise.resolve({ project: 'flights', views: (stale.shift() ?? []).map((view) => ({ view, foldAt: 3 })) }),
    listViews: () => Promise.resolve([{ view: 'a@1', source: 'trips' }]),
    async fillShadow() {
      await held;
      return { keys: 1, events: 1, generation: 0 };
    },
  };
  const file = { kind: 'file', path: '/data/late.csv', format: 'csv' } as const;
  const { handle, fake } = await start('ingestSource', { source: 'trips', batchId: 'late', input: file }, arrives);
  await result(handle);
  const refresh = temporal.client.workflow.getHandle('refresh/trips');
  await eventually('the first build is under way', () => fake.of('fillShadow').length === 1);
  await result(await begin('ingestSource', { source: 'trips', batchId: 'later', input: file }));
  building!();
  expect(await result(refresh)).toEqual({ views: ['a@1', 'a@1'] });
  expect(fake.of('fillShadow').map(({ view, foldAt }) => [view, foldAt])).toEqual([
    ['a@1', 3],
    ['a@1', 3],
  ]);
  // another file after the end begins anew
  await result(await begin('ingestSource', { source: 'trips', batchId: 'last', input: file }));
  expect(await result(temporal.client.workflow.getHandle('refresh/trips'))).toEqual({ views: [] });
});

test('a dataset is built from what its workflow was given', async () => {
  const input = { project: 'flights', projectDigest: 'd', model: 'late-arrival', training: 'trees' };
  const { handle, fake } = await start('buildDataset', input);
  expect(await result(handle)).toMatchObject({ digest: 'sha256-of-the-dataset' });
  expect(fake.of('buildDataset')).toEqual([input]);
});

test('a rollback of a champion ends when every node has taken the route', async () => {
  let acknowledge: (() => void) | undefined;
  const acknowledged = new Promise<void>((resolve) => (acknowledge = resolve));
  const { handle, fake } = await start(
    'rollbackModel',
    { model: 'late-arrival', actor: 'oscar', reason: 'complaints' },
    { awaitAcknowledgement: () => acknowledged },
  );
  await eventually('it waits for the nodes', () => fake.of('awaitAcknowledgement').length === 1);
  expect(fake.of('awaitAcknowledgement')).toEqual([{ model: 'late-arrival', epoch: 2 }]);
  expect((await handle.describe()).status.name).toBe('RUNNING');
  acknowledge?.();
  expect(await result(handle)).toEqual({ epoch: 2, champion: 1, replaced: 2 });
});

test('a monitor outlives a window that cannot be looked at, and looks at it with the next one', async () => {
  let failed = false;
  const { handle, fake } = await start(
    'monitorModel',
    { model: 'late-arrival' },
    {
      getMonitorPlan: () => Promise.resolve({ everyMs: 10 }),
      runMonitors({ after }) {
        if (after !== 11 || failed) return Promise.resolve({ windowEnd: (after ?? 10) + 1, findings: [] });
        failed = true;
        return Promise.reject(new SerinError('BLOB_NOT_FOUND', 'the baseline is missing'));
      },
    },
  );
  const status = await eventually('the third window', async () => {
    const seen = await handle.query(monitorQuery);
    return seen.windows >= 3 && seen;
  });
  expect(status.lastWindowEnd).toBe(10 + status.windows);
  expect(
    fake
      .of('runMonitors')
      .slice(0, 4)
      .map(({ after }) => after),
  ).toEqual([null, 11, 11, 12]);
});
