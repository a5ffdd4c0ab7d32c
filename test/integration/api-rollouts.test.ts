import { WorkflowNotFoundError } from '@temporalio/client';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { listVersions, registerVersion } from '../../db/registry.ts';
import { readRolloutSpec } from '../../db/rollout-spec.ts';
import { openRollout, putLook, putRolloutState } from '../../db/rollouts.ts';
import { SerinError } from '../../domain/errors.ts';
import { NO_SHADOW } from '../../domain/rollout/evidence.ts';
import type { AwaitingApproval } from '../../domain/rollout/state.ts';
import { type ApiFixture, type Caller, createApiFixture, flightsManifest, NOW } from '../setup/api-fixture.ts';

let api: ApiFixture;
let engineer: Caller;
let approver: Caller;
beforeAll(async () => {
  api = await createApiFixture();
  engineer = await api.as('engineer', 'ada');
  approver = await api.as('approver', 'alan');
  await engineer.send('POST', '/v1/projects', { spec: api.flights.spec });
  for (const runId of ['r1', 'r2']) await register(runId);
});
afterAll(() => api.close());
beforeEach(() => {
  api.workflows.refusal = null;
});

const waiting: AwaitingApproval = {
  phase: 'awaitingApproval',
  startedAt: NOW,
  endsAt: NOW + 3_600_000_000,
  acknowledgedEpoch: 2,
  weightPercent: 5,
  rampStartedAt: NOW,
  stage: 1,
  evidenceDigest: 'abcd1234',
  approvals: [],
  requestedAt: NOW,
  expiresAt: NOW + 60_000_000,
  verdict: 'advance',
  evidenceWaived: false,
};

test('a rollout starts one workflow, under the id of its version, with the policy of the project', async () => {
  const started = await engineer.send('POST', '/v1/models/flight-delay/rollouts', { version: 1 });
  expect(started).toMatchObject({ status: 202, body: { workflowId: 'rollout/flight-delay/1', status: 'running' } });
  expect(api.workflows.started.at(-1)).toMatchObject({
    type: 'rolloutModel',
    version: 1,
    input: { spec: { author: 'ada', policy: api.flights.spec.models[0]!.rollout } },
  });
});

test('an unknown version and the rule in production are refused before anything starts', async () => {
  const before = api.workflows.started.length;
  expect((await engineer.send('POST', '/v1/models/flight-delay/rollouts', { version: 9 })).body.code).toBe(
    'VERSION_NOT_FOUND',
  );
  expect((await engineer.send('POST', '/v1/models/flight-delay/rollouts', { version: 0 })).body.code).toBe(
    'STAGE_TRANSITION_REFUSED',
  );
  expect(api.workflows.started).toHaveLength(before);
});

test('while one version is rolled out, another one is refused and the same one is joined', async () => {
  await open(1);
  expect((await engineer.send('POST', '/v1/models/flight-delay/rollouts', { version: 2 })).body).toMatchObject({
    code: 'ROLLOUT_ACTIVE',
    active: 'rollout/flight-delay/1',
  });
  expect((await engineer.send('POST', '/v1/models/flight-delay/rollouts', { version: 1 })).status).toBe(202);
});

test('a rollout shows its state, what it takes, the evidence to approve and the findings behind it', async () => {
  await open(1);
  await putLook(api.database.db, {
    rolloutId: 'rollout/flight-delay/1',
    look: 1,
    lookedAt: NOW,
    phase: 'stage:0',
    verdict: 'advance',
    evidenceSha256: 'abcd1234',
    evidence: {
      analysis: {
        phase: 'stage:0',
        verdict: 'advance',
        findings: [
          {
            metric: 'loss',
            verdict: 'advance',
            sentence: 'inside its margin',
            estimate: 0,
            lower: 0,
            upper: 0,
            margin: 0.01,
            n: 9,
          },
        ],
      },
      shadow: NO_SHADOW,
    },
  });
  expect((await approver.get('/v1/rollouts/flight-delay/1')).body).toMatchObject({
    phase: 'awaitingApproval',
    stage: 'approval at 5 %',
    weightPercent: 5,
    evidenceDigest: 'abcd1234',
    commands: ['approve', 'reject', 'pause', 'freeze', 'abort', 'rollback'],
    details: expect.stringContaining('inside its margin'),
    looks: [{ look: 1, verdict: 'advance', findings: [{ sentence: 'inside its margin' }] }],
  });
});

test('a command carries who gives it, with their roles, to the workflow', async () => {
  const body = { type: 'approve', reason: 'sound', evidenceDigest: 'abcd1234', commandId: 'c-1' };
  const answer = await approver.send('POST', '/v1/rollouts/flight-delay/1/commands', body);
  expect(answer).toMatchObject({ status: 200, body: { commandId: 'c-1', phase: 'paused' } });
  expect(api.workflows.commands.at(-1)).toEqual({
    workflowId: 'rollout/flight-delay/1',
    type: 'approve',
    input: {
      commandId: 'c-1',
      command: {
        type: 'approve',
        reason: 'sound',
        actor: { id: 'alan', roles: ['approver'] },
        evidenceDigest: 'abcd1234',
      },
    },
  });
});

test.each([
  ['APPROVAL_BY_AUTHOR', 403],
  ['APPROVAL_STALE', 409],
  ['COMMAND_REFUSED', 409],
  ['ROLLOUT_ENDED', 409],
] as const)('what the workflow refuses with %s the API answers with the same code and %i', async (code, status) => {
  api.workflows.refusal = new SerinError(code, 'because', { fields: { actor: 'alan' } });
  const refused = await approver.send('POST', '/v1/rollouts/flight-delay/1/commands', {
    type: 'approve',
    reason: 'sound',
  });
  expect(refused).toMatchObject({ status, body: { code, detail: 'because', actor: 'alan' } });
});

test('a command to a rollout that has ended or never was says so', async () => {
  api.workflows.refusal = new WorkflowNotFoundError('gone', 'rollout/flight-delay/1', undefined);
  const pause = { type: 'pause', reason: 'look' };
  expect((await engineer.send('POST', '/v1/rollouts/flight-delay/1/commands', pause)).body.code).toBe('ROLLOUT_ENDED');
  expect((await engineer.send('POST', '/v1/rollouts/flight-delay/9/commands', pause)).body.code).toBe(
    'ROLLOUT_NOT_FOUND',
  );
});

test('a viewer gives no commands', async () => {
  const refused = await (
    await api.as('viewer')
  ).send('POST', '/v1/rollouts/flight-delay/1/commands', { type: 'pause', reason: 'look' });
  expect(refused).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } });
});

test('rolling a model back commands the rollout under way, and starts a workflow of its own when there is none', async () => {
  await open(1);
  const during = await engineer.send('POST', '/v1/models/flight-delay/rollback', { reason: 'complaints' });
  expect(during).toMatchObject({ status: 200, body: { rolloutId: 'rollout/flight-delay/1' } });
  expect(api.workflows.commands.at(-1)).toMatchObject({
    type: 'rollback',
    input: { command: { reason: 'complaints' } },
  });

  await putRolloutState(
    api.database.db,
    'rollout/flight-delay/1',
    { phase: 'rolledBack', reason: 'complaints', endedAt: NOW },
    NOW,
  );
  const after = await engineer.send(
    'POST',
    '/v1/models/flight-delay/rollback',
    { reason: 'complaints' },
    { 'idempotency-key': 'k' },
  );
  expect(after).toMatchObject({ status: 202, body: { workflowId: 'rollback/flight-delay/k' } });
  expect(api.workflows.started.at(-1)).toMatchObject({
    type: 'rollbackModel',
    input: { model: 'flight-delay', actor: 'ada', reason: 'complaints' },
  });
});

test('a plan says for each stage what the traffic can decide', async () => {
  const plan = await engineer.send('POST', '/v1/models/flight-delay/rollouts/plan', {
    version: 1,
    requestsPerSecond: 500,
    labelledShare: 0.9,
  });
  expect(plan).toMatchObject({ status: 200, body: { version: 1, canDecide: expect.any(Boolean) } });
  expect(plan.body.stages.length).toBeGreaterThan(0);
});

test('the operation of a failed workflow carries the problem it ended with, and its result while asking to start it', async () => {
  api.workflows.operations.set('ingest/flights/bad', {
    workflowId: 'ingest/flights/bad',
    runId: 'r',
    type: 'ingestSource',
    status: 'failed',
    failure: new SerinError('BATCH_CONFLICT', 'other bytes', { fields: { batchId: 'bad' } }),
  });
  expect((await engineer.get('/v1/operations/ingest%2Fflights%2Fbad')).body).toMatchObject({
    status: 'failed',
    problem: { code: 'BATCH_CONFLICT', status: 409, detail: 'other bytes' },
  });
  expect((await engineer.get('/v1/operations/ingest/flights/bad')).body.problem.code).toBe('BATCH_CONFLICT');
  const again = await engineer.send('POST', '/v1/sources/flights/batches', {
    batchId: 'bad',
    path: '/x.csv',
    format: 'csv',
  });
  expect(again).toMatchObject({ status: 409, body: { code: 'BATCH_CONFLICT', batchId: 'bad' } });
});

async function register(runId: string): Promise<void> {
  const version = (await listVersions(api.database.db, 'flight-delay')).length;
  await registerVersion(api.database.db, {
    at: NOW,
    sha256: 'f'.repeat(64),
    manifest: { ...flightsManifest(api), version, modelFile: { uri: 'sha256:0', sha256: '0', bytes: 1 }, runId },
  });
}

async function open(version: number): Promise<void> {
  const spec = await readRolloutSpec(api.database.db, { model: 'flight-delay', version });
  await openRollout(api.database.db, { ...spec, state: waiting, startedAt: NOW });
}
