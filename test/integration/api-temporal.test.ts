import { randomUUID } from 'node:crypto';
import { createServer } from 'node:net';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { connectWorkflows, type Workflows } from '../../api/workflow-client.ts';
import { type ApiFixture, createApiFixture } from '../setup/api-fixture.ts';

/** A call that keeps its deadline of some seconds is done before, also on a busy machine. */
const HANGING_MS = 20_000;

let workflows: Workflows;
beforeAll(() => {
  workflows = connectWorkflows({
    address: inject('services').temporalAddress,
    namespace: 'default',
    identity: 'api-test',
    commandMs: 1_000,
  });
});
afterAll(() => workflows.close());

const ingestion = (workflowId: string, path = '/nowhere.csv') =>
  ({
    type: 'ingestSource',
    workflowId,
    input: { source: 'flights', batchId: 'b', input: { kind: 'file', path, format: 'csv' } },
    summary: 'test',
    again: 'afterFailure',
    requestId: 'r1',
  }) as const;

test('a workflow that runs is joined by a second start of the same id', async () => {
  const workflowId = `ingest/test/${randomUUID()}`;
  await workflows.start(ingestion(workflowId));
  const first = await workflows.find(workflowId);
  await workflows.start(ingestion(workflowId));
  const second = await workflows.find(workflowId);
  expect(first).toMatchObject({ workflowId, type: 'ingestSource', status: 'running' });
  expect(second?.runId).toBe(first?.runId);
  expect(await workflows.cancel(workflowId)).toBe(true);
});

test('waiting for a workflow that does not end answers that it runs, when the wait is over', async () => {
  const workflowId = `ingest/test/${randomUUID()}`;
  await workflows.start(ingestion(workflowId));
  const startedAt = performance.now();
  expect(await workflows.find(workflowId, { waitMs: 300 })).toMatchObject({ status: 'running' });
  expect(performance.now() - startedAt).toBeLessThan(HANGING_MS);
  await workflows.cancel(workflowId);
});

test('a workflow of an unknown id is not found, and a command to it is not either', async () => {
  expect(await workflows.find(`ingest/test/${randomUUID()}`)).toBeUndefined();
  expect(await workflows.cancel(`ingest/test/${randomUUID()}`)).toBe(false);
});

test('a schedule is created, changed and taken away', async () => {
  const schedule = {
    model: `m-${randomUUID()}`,
    training: 't',
    author: 'ada',
    every: { everyMs: 86_400_000 },
    paused: false,
  };
  expect(await workflows.putSchedule(schedule)).toEqual({ scheduleId: `deliver/${schedule.model}`, created: true });
  expect(await workflows.putSchedule({ ...schedule, paused: true, every: { cron: '0 4 * * *' } })).toMatchObject({
    created: false,
  });
  expect(await workflows.deleteSchedule(schedule.model)).toBe(true);
  expect(await workflows.deleteSchedule(schedule.model)).toBe(false);
});

test('a command that no worker answers ends at its deadline with the id to send again', async () => {
  const workflowId = `rollout/test/${randomUUID()}`;
  await workflows.start(ingestion(workflowId));
  const command = workflows.command(workflowId, 'pause', {
    commandId: 'c1',
    command: { type: 'pause', reason: 'look', actor: { id: 'grace', roles: ['operator'] } },
  });
  await expect(command).rejects.toMatchObject({ code: 'TEMPORAL_UNAVAILABLE', fields: { commandId: 'c1' } });
  await workflows.cancel(workflowId);
});

test.each([
  ['nothing listens', async () => 9],
  ['something listens that never answers', silentPort],
])('where %s, starting is refused with TEMPORAL_UNAVAILABLE within seconds', async (_, portOf) => {
  const down = connectWorkflows({ address: `127.0.0.1:${await portOf()}`, namespace: 'default', identity: 'api-test' });
  const startedAt = performance.now();
  await expect(down.start(ingestion('ingest/test/down'))).rejects.toMatchObject({
    code: 'TEMPORAL_UNAVAILABLE',
    status: 503,
  });
  expect(performance.now() - startedAt).toBeLessThan(HANGING_MS);
  expect(await down.isReachable()).toBe(false);
  await down.close();
});

test('without Temporal the API reads, says so in its readiness, and refuses to start with a problem', async () => {
  const down = connectWorkflows({ address: '127.0.0.1:9', namespace: 'default', identity: 'api-test' });
  const api: ApiFixture = await createApiFixture({ workflows: down });
  const engineer = await api.as('engineer');
  await engineer.send('POST', '/v1/projects', { spec: api.flights.spec });
  expect((await engineer.get('/v1/models')).body.models).toHaveLength(1);
  expect((await api.app.inject({ url: '/health/ready' })).json()).toMatchObject({
    status: 'ok',
    checks: { database: 'ok', temporal: expect.stringContaining('does not answer') },
  });
  const refused = await engineer.send('POST', '/v1/models/flight-delay/runs', { training: 'logistic' });
  expect(refused).toMatchObject({ status: 503, body: { code: 'TEMPORAL_UNAVAILABLE' } });
  expect(refused.headers['retry-after']).toBe('1');
  await api.close();
  await down.close();
});

async function silentPort(): Promise<number> {
  const server = createServer(() => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  return (server.address() as { port: number }).port;
}
