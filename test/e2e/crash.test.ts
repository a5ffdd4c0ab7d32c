import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../setup/eventually.ts';
import { FOREST_TREES, LONG_TRAINING, PARCELS, SHORT_TRAINING } from './parcels.ts';
import { ParcelsPlatform, problemOf, type RolloutEnd } from './parcels-platform.ts';

let parcels: ParcelsPlatform;
/** What a rollout leaves behind that nothing disturbs. */
let undisturbed: RolloutEnd;

beforeAll(async () => {
  parcels = await ParcelsPlatform.start();
  const { version } = await parcels.train(SHORT_TRAINING);
  undisturbed = await parcels.rollOut(version, { atPercent: 20, disturb: async () => {} });
}, 300_000);
afterAll(() => parcels?.stop());

/** Waits until callers have had this many answers more. */
async function answered(more: number): Promise<void> {
  const before = parcels.traffic.answers;
  await eventually(`${more} more answers`, () => parcels.traffic.answers >= before + more, 60_000);
}

test('an undisturbed rollout goes through shadow and canary stages to its promotion', () => {
  expect(undisturbed).toEqual({
    phase: 'promoted',
    reason: null,
    decisions: ['started', 'stageStarted', 'stageStarted', 'promoted', 'watchClosed'],
    routeMoves: 4,
    route: { toVersion: true, canary: null, shadow: null },
    stage: 'production',
  });
});

test('a training whose worker is killed goes on from its checkpoint to the same bytes and one version', async () => {
  const whole = await parcels.train(LONG_TRAINING);
  const before = await parcels.model();
  const { retries } = parcels.traffic;

  const { workflowId } = await parcels.startTraining(LONG_TRAINING);
  const toldStep = await eventually('a checkpoint that the server knows', () => checkpointedStep(workflowId), 60_000);
  await parcels.platform.kill('worker');
  await parcels.platform.restart('worker');
  const resumed = await parcels.trained(workflowId);

  expect(toldStep).toBeLessThan(FOREST_TREES);
  expect(await parcels.modelFile(resumed)).toBe(await parcels.modelFile(whole));
  expect(resumed.dataset).toBe(whole.dataset);
  const { versions } = await parcels.model();
  expect(versions.length).toBe(before.versions.length + 1);
  expect(versions.filter(({ runId }) => runId === resumed.runId).map(({ version }) => version)).toEqual([
    resumed.version,
  ]);
  const resumptions = (await parcels.log('worker')).filter(
    ({ msg, runId }) => msg === 'training goes on from a checkpoint' && runId === resumed.runId,
  );
  expect(resumptions[0]?.['step']).toBeGreaterThanOrEqual(toldStep);
  expect(parcels.traffic).toMatchObject({ failures: [], retries });
});

test('a rollout whose worker is killed in the middle of a stage ends as if nothing had been', async () => {
  const { version } = await parcels.train(SHORT_TRAINING);
  const { retries } = parcels.traffic;
  const end = await parcels.rollOut(version, {
    atPercent: 20,
    disturb: async () => {
      await parcels.platform.kill('worker');
      await answered(200);
      await parcels.platform.restart('worker');
    },
  });
  expect(end).toEqual(undisturbed);
  expect(parcels.traffic).toMatchObject({ failures: [], retries });
});

test('a rollout whose Temporal server is killed goes on when it is back; until then commands are refused and serving is untouched', async () => {
  const { version } = await parcels.train(SHORT_TRAINING);
  const { retries } = parcels.traffic;
  const seen: { refusal?: string | null; weightPercent?: number } = {};
  const end = await parcels.rollOut(version, {
    atPercent: 20,
    disturb: async () => {
      await parcels.platform.kill('temporal');
      seen.refusal = await problemOf(
        parcels.client.post('operator', `/v1/rollouts/${PARCELS}/${version}/commands`, {
          type: 'pause',
          reason: 'to see whether it is obeyed',
        }),
      );
      seen.weightPercent = (await parcels.rollout(version)).weightPercent;
      await answered(300);
      await parcels.platform.restart('temporal');
    },
  });
  expect(seen).toEqual({ refusal: '503 TEMPORAL_UNAVAILABLE', weightPercent: 20 });
  expect(end).toEqual(undisturbed);
  expect(parcels.traffic).toMatchObject({ failures: [], retries });
});

test('a rollout goes on when an inference process is killed, and when all of them are', async () => {
  const { version } = await parcels.train(SHORT_TRAINING);
  const end = await parcels.rollOut(version, {
    atPercent: 20,
    disturb: async () => {
      process.kill(await oneServingProcess(), 'SIGKILL');
      await answered(200);
      await parcels.platform.kill('inference');
      await parcels.platform.restart('inference');
      await answered(200);
    },
  });
  expect(end).toEqual(undisturbed);
  expect(parcels.traffic.failures).toEqual([]);
});

test('a node that dies for good holds a rollout up for its lease, no longer', async () => {
  const { version } = await parcels.train(SHORT_TRAINING);
  const { retries } = parcels.traffic;
  const spare = await parcels.startSpareInference();
  const end = await parcels.rollOut(version, {
    atPercent: 20,
    disturb: async () => {
      process.kill(-spare.pid, 'SIGKILL'); // its whole group, so that nothing of it gives the lease back
      await spare.exited;
    },
  });
  expect(end).toEqual(undisturbed);
  expect(parcels.traffic).toMatchObject({ failures: [], retries });
});

test('predictions are answered while PostgreSQL is gone, and the rollout goes on when it is back', async () => {
  const { version } = await parcels.train(SHORT_TRAINING);
  const { retries } = parcels.traffic;
  const seen: { refusal?: string | null; byRule?: boolean } = {};
  const end = await parcels.rollOut(version, {
    atPercent: 20,
    disturb: async () => {
      await parcels.platform.kill('postgres');
      seen.refusal = await problemOf(parcels.model());
      const byRule = parcels.traffic.byRung.get('rule') ?? 0;
      await answered(300);
      seen.byRule = (parcels.traffic.byRung.get('rule') ?? 0) > byRule;
      await parcels.platform.restart('postgres');
    },
  });
  expect(seen).toEqual({ refusal: '503 DATABASE_UNAVAILABLE', byRule: true });
  expect(end).toEqual(undisturbed);
  expect(parcels.traffic).toMatchObject({ failures: [], retries });
});

test('after all of it the decision log holds, and callers saw each route once, in order', async () => {
  expect(await parcels.client.get('viewer', '/v1/audit/verify')).toMatchObject({ holds: true });
  const { route } = await parcels.model();
  const first = parcels.traffic.epochs[0]!;
  expect(parcels.traffic.epochs).toEqual(Array.from({ length: route.epoch - first + 1 }, (_, i) => first + i));
});

/** The step of the last checkpoint in a heartbeat that the server has; false while there is none. */
async function checkpointedStep(workflowId: string): Promise<number | false> {
  const { raw } = await parcels.temporal.workflow.getHandle(workflowId).describe();
  const [payload] = raw.pendingActivities?.[0]?.heartbeatDetails?.payloads ?? [];
  if (!payload?.data) return false;
  const { step = 0 } = JSON.parse(Buffer.from(payload.data).toString('utf8')) as { step?: number };
  return step > 0 && step;
}

async function oneServingProcess(): Promise<number> {
  const primary = parcels.platform.pids().inference;
  const children = await readFile(`/proc/${primary}/task/${primary}/children`, 'utf8');
  return Number(children.trim().split(' ')[0]);
}
