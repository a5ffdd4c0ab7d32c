/** Needs the compiled workflow bundle: `npm run build`. From the API over Temporal and a real inference tier to a callback. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createActivities } from '../../../activities/activities.ts';
import { signatureOf } from '../../../activities/callback.ts';
import { connectWorkflows, type Workflows } from '../../../api/workflow-client.ts';
import { createPostgresStore } from '../../../features/online/postgres-store.ts';
import { openFeatures } from '../../../inference/process/open-features.ts';
import { startRoutedNode } from '../../../inference/process/routed-node.ts';
import type { ServingNode } from '../../../inference/process/serving-node.ts';
import { openBlobStore } from '../../../platform/file-blob-store.ts';
import { createLogger } from '../../../platform/logger.ts';
import { type ApiFixture, type Caller, createApiFixture } from '../../setup/api-fixture.ts';
import { eventually } from '../../setup/eventually.ts';
import { STORE_PATIENCE_MS } from '../../setup/served-project.ts';
import { startTemporalFixture, type TemporalFixture } from './temporal-fixture.ts';

const logger = createLogger({ service: 'test', node: 'test', level: 'silent' });
const PATH = '/v1/models/flight-delay/predictions';
const INSTANCES = [
  { origin: 'SEA', destination: 'SFO', distance: 679, asOf: '2001-06-01T12:00:00Z' },
  { id: 'mine', origin: 'JFK', destination: null, distance: 100, asOf: '2001-06-01T13:00:00Z' },
];

interface Arrived {
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

let temporal: TemporalFixture;
let workflows: Workflows;
let api: ApiFixture;
let operator: Caller;
let node: ServingNode;
let features: ReturnType<typeof openFeatures>;
let folder: string;
let tier: Server;
let receiver: Server;
/** Statuses with which the tier turns the next requests away. */
const turnedAway: number[] = [];
/** Statuses with which the receiver answers the next callbacks; 204 after them. */
const notTaken: number[] = [];
const asked: Arrived[] = [];
const delivered: Arrived[] = [];

beforeAll(async () => {
  temporal = await startTemporalFixture();
  workflows = connectWorkflows({ address: temporal.address, namespace: 'default', identity: 'test' });
  api = await createApiFixture({ workflows });
  operator = await api.as('operator');
  await (await api.as('engineer')).send('POST', '/v1/projects', { spec: api.flights.spec });
  folder = await mkdtemp(join(tmpdir(), 'serin-async-'));
  const { db, pool } = api.database;
  const databaseUrl = pool.options.connectionString!;
  features = openFeatures(databaseUrl, STORE_PATIENCE_MS);
  const blobUrl = pathToFileURL(folder).href;
  node = await startRoutedNode({
    config: { databaseUrl, blobUrl, nodeId: 'node-1', inferenceHost: '127.0.0.1', inferencePort: 0 },
    logger,
    ...features,
  });
  tier = await listen(async (request) => {
    asked.push(request);
    const status = turnedAway.shift();
    if (status !== undefined) return { status, body: JSON.stringify({ code: 'OVERLOADED', detail: 'not now' }) };
    const headers = { 'content-type': 'application/json' };
    const answer = await node.app.inject({ method: 'POST', url: request.path, headers, payload: request.body });
    return { status: answer.statusCode, body: answer.body };
  });
  receiver = await listen((request) => {
    delivered.push(request);
    return Promise.resolve({ status: notTaken.shift() ?? 204, body: '' });
  });
  await temporal.startWorkers(
    createActivities({
      db,
      pool,
      blobs: openBlobStore(blobUrl),
      onlineStore: createPostgresStore(pool),
      config: {
        workDir: folder,
        duckdbMemory: '500MB',
        duckdbThreads: 1,
        inferenceUrl: urlOf(tier),
        callbackTo: 'anywhere',
      },
      logger,
      now: () => Date.now() * 1_000,
    }),
  );
});
afterAll(async () => {
  await temporal.stop();
  await workflows.close();
  await node.close();
  await features.close();
  await api.close();
  tier.close();
  receiver.close();
  await rm(folder, { recursive: true, force: true });
});

async function listen(handle: (request: Arrived) => Promise<{ status: number; body: string }>): Promise<Server> {
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      void handle({ path: request.url!, headers: request.headers, body }).then(({ status, body: answer }) => {
        response.writeHead(status, { 'content-type': 'application/json' }).end(answer);
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

const urlOf = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

const ended = (self: string) =>
  eventually('the prediction is answered', async () => {
    const { body } = await operator.get(self);
    return body.status === 'waiting' ? undefined : (body as Record<string, unknown>);
  });

test('a prediction is asked until the tier answers, and says what the predict route says', async () => {
  turnedAway.push(503, 503);
  const before = asked.length;
  const accepted = await operator.send('POST', PATH, { instances: INSTANCES });
  expect(accepted).toMatchObject({ status: 202, body: { status: 'waiting', callback: null, endedAt: null } });
  const { id, links } = accepted.body;
  const answer = await ended(links.self);
  expect(asked.length - before).toBe(3);
  const online = await node.app.inject({
    method: 'POST',
    url: '/v1/models/flight-delay/predict',
    payload: { instances: INSTANCES },
  });
  const told = (predictions: readonly { score: number; label: number; asOf: string }[]) =>
    predictions.map(({ score, label, asOf }) => ({ score, label, asOf }));
  expect(answer).toMatchObject({ status: 'answered', keptUntil: (answer['endedAt'] as number) + 86_400e6 });
  const predictions = answer['predictions'] as { predictionId: string; score: number; label: number; asOf: string }[];
  expect(told(predictions)).toEqual(told(online.json<{ predictions: typeof predictions }>().predictions));
  // ids that were not given are the same in every attempt
  expect(predictions.map(({ predictionId }) => predictionId)).toEqual([`${id}-0`, 'mine']);
  const stored = await api.database.db
    .selectFrom('async_prediction')
    .selectAll()
    .where('id', '=', id)
    .executeTakeFirst();
  expect(stored).toMatchObject({ request: null });
});

test('an Idempotency-Key makes two requests one prediction; for another question it is refused', async () => {
  const key = { 'idempotency-key': 'once' };
  const first = await operator.send('POST', PATH, { instances: INSTANCES.slice(0, 1) }, key);
  const second = await operator.send('POST', PATH, { instances: INSTANCES.slice(0, 1) }, key);
  expect(second.body.id).toBe(first.body.id);
  await ended(first.body.links.self);
  const before = asked.length;
  // after the answer, too
  expect(await operator.send('POST', PATH, { instances: INSTANCES.slice(0, 1) }, key)).toMatchObject({
    status: 202,
    body: { id: first.body.id, status: 'answered' },
  });
  expect(await operator.send('POST', PATH, { instances: INSTANCES }, key)).toMatchObject({
    status: 400,
    body: { code: 'INPUT_INVALID', field: 'idempotency-key' },
  });
  expect(asked).toHaveLength(before);
});

test('an answer is delivered until it is taken, signed, under one id', async () => {
  notTaken.push(500, 404);
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
  const url = `${urlOf(receiver)}/hook`;
  const { body } = await operator.send('POST', PATH, { instances: INSTANCES, callback: { url, secret } });
  await eventually('it is taken', async () => (await operator.get(body.links.self)).body.callback.deliveredAt !== null);
  const mine = delivered.filter(({ headers }) => headers['webhook-id'] === body.id);
  expect(mine).toHaveLength(3);
  for (const { headers, body: text } of mine) {
    expect(headers['webhook-signature']).toBe(
      `v1,${signatureOf(secret, body.id, Number(headers['webhook-timestamp']), text)}`,
    );
  }
  const shown = (await operator.get(body.links.self)).body;
  expect(JSON.parse(mine[2]!.body)).toMatchObject({
    id: body.id,
    model: 'flight-delay',
    status: 'answered',
    predictions: shown.predictions,
  });
  expect(shown.callback).toMatchObject({ url, failure: null });
  expect(JSON.stringify(shown)).not.toContain(secret);
});

test('what the tier refuses is the end, and says why; the callback hears of it', async () => {
  const before = asked.length;
  const { body } = await operator.send('POST', PATH, {
    instances: [{ origin: 5, destination: 'SFO', distance: 1 }],
    callback: { url: `${urlOf(receiver)}/refused` },
  });
  const answer = await ended(body.links.self);
  expect(answer).toMatchObject({
    status: 'failed',
    problem: { code: 'INPUT_INVALID', detail: expect.stringContaining('origin') as string },
  });
  expect(asked.length - before).toBe(1);
  const told = await eventually('the callback', () => delivered.find(({ path }) => path === '/refused'));
  expect(JSON.parse(told.body)).toMatchObject({ id: body.id, status: 'failed', problem: { code: 'INPUT_INVALID' } });
  expect(told.headers['webhook-signature']).toBeUndefined();
});

test('an answer is gone when its time is over', async () => {
  const callback = { url: `${urlOf(receiver)}/gone` };
  const { body } = await operator.send('POST', PATH, { instances: INSTANCES, callback, keepSeconds: 1 });
  await eventually('it is gone', async () => (await operator.get(body.links.self)).status === 404);
  const left = await api.database.db.selectFrom('async_prediction').select('id').where('id', '=', body.id).execute();
  expect(left).toEqual([]);
  expect(delivered.filter(({ path }) => path === '/gone')).toHaveLength(1);
});

test.each([
  [{ instances: [] }, 400],
  [{ instances: INSTANCES, callback: { url: 'ftp://example.com/' } }, 400],
  [{ instances: INSTANCES, callback: { url: 'https://user:secret@example.com/' } }, 400],
  [{ instances: INSTANCES, keepSeconds: 604_801 }, 400],
])('a request that cannot be kept is refused: %j', async (body, status) => {
  expect(await operator.send('POST', PATH, body)).toMatchObject({ status, body: { code: 'INPUT_INVALID' } });
});
