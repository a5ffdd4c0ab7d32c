/** Admission where requests come in: over sockets before their body, through the framework, over gRPC. */
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createLogger } from '../../platform/logger.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { createInferenceApp } from '../http/inference-app.ts';
import { linearOnnx } from '../model/onnx-fixture.ts';
import { GRPC_SERVICE, type Message } from '../oip/grpc-messages.ts';
import { type GrpcListener, startGrpcServer } from '../oip/grpc-server.ts';
import type { ServingNode } from '../process/serving-node.ts';
import { startStandaloneNode } from '../process/standalone-node.ts';
import type { Door } from './admission.ts';
import { doorHooks, writeProblemRefusal } from './door-hook.ts';

const logger = createLogger({ service: 'inference', node: 'test', level: 'silent' });
const PATH = '/v2/models/m/infer';
const ROW = JSON.stringify({ inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 2], data: [1, 2] }] });
/** Nothing is computed in a nanosecond. */
const TOO_SOON = '0.000001';

let folder: string;
let path: string;
let node: ServingNode;
let url: string;

async function start(config: Parameters<typeof startStandaloneNode>[1]): Promise<void> {
  node = await startStandaloneNode([{ name: 'm', path }], config, logger);
  url = await node.app.listen({ host: '127.0.0.1', port: 0 });
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-door-'));
  path = join(folder, 'm.onnx');
  await writeFile(path, linearOnnx({ weights: [1, 0.5], bias: 0.25 }));
});
afterEach(async () => {
  await node.close();
  await rm(folder, { recursive: true });
});

const ask = (headers: Record<string, string> = {}, body = ROW): Promise<Response> =>
  fetch(`${url}${PATH}`, { method: 'POST', headers, body });

async function refusedBy(reason: string): Promise<number> {
  const text = await node.registry.metrics();
  return Number(new RegExp(`serin_inference_refused_total\\{reason="${reason}"[^}]*\\} (\\d+)`).exec(text)?.[1]);
}

describe('a deadline', () => {
  beforeEach(async () => {
    await start({ nodeId: 'test' });
    // what a batch costs is known from a few
    for (let i = 0; i < 5; i++) await ask();
  });

  test('that cannot be met is a 503 that says when to try again, over a socket and through the framework', async () => {
    const headers = { 'x-serin-deadline-ms': TOO_SOON };
    const answer = await ask(headers);
    expect([answer.status, answer.headers.get('retry-after'), answer.headers.get('retry-after-ms')]).toEqual([
      503,
      '1',
      '0',
    ]);
    expect(await answer.json()).toEqual({ error: expect.stringMatching(/its deadline (has passed|is in 0\.0 ms)$/) });
    const injected = await node.app.inject({ method: 'POST', url: PATH, payload: ROW, headers });
    expect([injected.statusCode, injected.headers['retry-after']]).toEqual([503, '1']);
    expect(injected.json()).toEqual({ error: expect.stringMatching(/its deadline (has passed|is in 0\.0 ms)$/) });
    expect(await refusedBy('deadline')).toBe(2);
  });

  test('in the protocol’s timeout counts too, and there is time for what has none', async () => {
    const timed = (timeout: number) => ask({}, JSON.stringify({ ...JSON.parse(ROW), parameters: { timeout } }));
    expect((await timed(60_000_000)).status).toBe(200);
    // a microsecond from its arrival is over when its body has been read
    expect((await timed(1)).status).toBe(503);
    expect((await ask()).status).toBe(200);
  });

  test('is refused before the body has come, and the connection goes on', async () => {
    const socket = connect((node.app.server.address() as AddressInfo).port, '127.0.0.1');
    let answers = '';
    socket.setEncoding('utf8').on('data', (text: string) => (answers += text));
    const head = `POST ${PATH} HTTP/1.1\r\nhost: x\r\nx-serin-deadline-ms: ${TOO_SOON}\r\ncontent-length: ${ROW.length}\r\n\r\n`;
    socket.write(head);
    await expect.poll(() => answers).toContain('HTTP/1.1 503');
    socket.write(`${ROW}POST ${PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: ${ROW.length}\r\n\r\n${ROW}`);
    await expect.poll(() => answers).toContain('HTTP/1.1 200');
    socket.destroy();
  });

  test.each([
    ['x-serin-deadline-ms', 'soon'],
    ['x-serin-deadline-ms', '0'],
    ['x-serin-deadline-ms', '99999999'],
    ['x-serin-priority', 'first'],
  ])('or class that is none is a 400 that names the header: %s: %s', async (name, value) => {
    const answer = await ask({ [name]: value });
    expect([answer.status, await answer.json()]).toEqual([
      400,
      { error: expect.stringContaining(`${name} is "${value}"`) },
    ]);
    expect(
      (await node.app.inject({ method: 'POST', url: PATH, payload: ROW, headers: { [name]: value } })).statusCode,
    ).toBe(400);
  });
});

test('plain files may have a deadline that their requests do not name', async () => {
  await start({ nodeId: 'test', inferenceDeadlineMs: 60_000 });
  expect((await ask()).status).toBe(200);
  expect((await ask({ 'x-serin-deadline-ms': TOO_SOON })).status).toBe(503);
});

test('a client over its rate is a 429 that says when; others, by key, name or address, are not', async () => {
  // so little that no row is given back between two requests, however slow the machine
  await start({ nodeId: 'test', inferenceClientRate: 0.02, inferenceClientBurst: 2 });
  const a = { authorization: 'Bearer a' };
  expect([(await ask(a)).status, (await ask(a)).status]).toEqual([200, 200]);
  const refused = await ask({ ...a, 'x-serin-client': 'another name' });
  expect(refused.status).toBe(429);
  expect(Number(refused.headers.get('retry-after-ms'))).toBeGreaterThan(0);
  expect((await ask({ 'x-api-key': 'b' })).status).toBe(200);
  expect((await ask({ 'x-serin-client': 'c' })).status).toBe(200);
  expect((await ask()).status).toBe(200);
  expect(await refusedBy('client')).toBe(1);
});

test('a request of many rows uses up its client’s rate', async () => {
  await start({ nodeId: 'test', inferenceClientRate: 10, inferenceClientBurst: 10 });
  const many = { inputs: [{ name: 'features', datatype: 'FP32', shape: [200, 2], data: new Array(400).fill(1) }] };
  expect((await ask({}, JSON.stringify(many))).status).toBe(200);
  const refused = await ask();
  expect([refused.status, Number(refused.headers.get('retry-after'))]).toEqual([429, expect.closeTo(19, -1)]);
});

test('the processes behind one port share the rate of a client', async () => {
  await start({ nodeId: 'test', inferenceClientRate: 0.08, inferenceClientBurst: 8, inferenceProcesses: 4 });
  const statuses: number[] = [];
  for (let i = 0; i < 3; i++) statuses.push((await ask()).status);
  expect(statuses).toEqual([200, 200, 429]);
});

describe('over gRPC', () => {
  let listener: GrpcListener;
  let client: Client;
  beforeEach(async () => {
    await start({ nodeId: 'test', inferenceClientRate: 1, inferenceClientBurst: 3 });
    listener = await startGrpcServer(node.oip, '127.0.0.1:0', logger);
    client = new Client(`127.0.0.1:${listener.port}`, credentials.createInsecure());
  });
  afterEach(async () => {
    client.close();
    await listener.close();
  });

  const { path: method, requestSerialize, responseDeserialize } = GRPC_SERVICE.ModelInfer;
  const request = {
    model_name: 'm',
    inputs: [{ name: 'features', datatype: 'FP32', shape: ['1', '2'], contents: { fp32_contents: [1, 2] } }],
  };
  function infer(headers: Record<string, string> = {}, parameters = {}): Promise<ServiceError | Message> {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    return new Promise((resolve) => {
      client.makeUnaryRequest(
        method,
        requestSerialize,
        responseDeserialize,
        { ...request, parameters } as Message,
        metadata,
        (error, message) => resolve(error ?? message!),
      );
    });
  }

  test('deadlines and classes come as metadata or parameters', async () => {
    expect(await infer({ 'x-serin-priority': 'background' }, { priority: { int64_param: 1 } })).toMatchObject({
      model_name: 'm',
    });
    const late = (await infer({ 'x-serin-deadline-ms': TOO_SOON })) as ServiceError;
    expect([late.code, late.metadata.get('grpc-retry-pushback-ms')]).toEqual([status.UNAVAILABLE, ['0']]);
    expect(await infer({ 'x-serin-priority': 'first' })).toMatchObject({ code: status.INVALID_ARGUMENT });
  });

  test('a client over its rate has exhausted it, whichever connection it comes over', async () => {
    for (let i = 0; i < 3; i++) expect(await infer()).toMatchObject({ model_name: 'm' });
    const other = new Client(`127.0.0.1:${listener.port}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    const before = client;
    client = other;
    const answers = await Promise.all(Array.from({ length: 10 }, () => infer()));
    before.close();
    expect(answers).toContainEqual(expect.objectContaining({ code: status.RESOURCE_EXHAUSTED }));
  });
});

test('the product routes say it as a problem', async () => {
  await start({ nodeId: 'test' });
  const registry = createMetrics({ service: 'inference', node: 'test' });
  const app = createInferenceApp({ logger, registry, readiness: () => ({ ready: true, checks: {} }) });
  const refusal = { reason: 'deadline', detail: 'it would take 9 ms', retryAfterMs: 1_500 } as const;
  const door: Door = { admit: () => refusal, charge: () => undefined, hold: () => null, letGo: () => undefined };
  app.post('/v1/models/:model/predict', doorHooks(door, writeProblemRefusal), () => 'never');
  const answer = await app.inject({ method: 'POST', url: '/v1/models/m/predict', payload: '{"broken' });
  expect([answer.statusCode, answer.headers['content-type'], answer.headers['retry-after']]).toEqual([
    503,
    expect.stringContaining('application/problem+json'),
    '2',
  ]);
  expect(answer.json()).toEqual({
    type: 'urn:serin:error:OVERLOADED',
    title: 'There is no capacity for this now',
    status: 503,
    code: 'OVERLOADED',
    detail: 'it would take 9 ms',
    instance: '/v1/models/m/predict',
    reason: 'deadline',
    retryAfterMs: 1_500,
  });
  await app.close();
});
