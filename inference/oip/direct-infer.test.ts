import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLogger } from '../../platform/logger.ts';
import {
  type Ask,
  comparable,
  overSocket as socketTo,
  throughFramework as frameworkOf,
} from '../../test/setup/both-ways.ts';
import { createDrain } from '../http/drain.ts';
import { linearOnnx } from '../model/onnx-fixture.ts';
import type { ServingNode } from '../process/serving-node.ts';
import { startStandaloneNode } from '../process/standalone-node.ts';

const logger = createLogger({ service: 'inference', node: 'test', level: 'silent' });
let folder: string;
let node: ServingNode;
let port: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-direct-'));
  const path = join(folder, 'm.onnx');
  await writeFile(path, linearOnnx({ weights: [1, 0.5], bias: 0.25 }));
  node = await startStandaloneNode([{ name: 'm', path }], { nodeId: 'test' }, logger);
  await node.app.listen({ host: '127.0.0.1', port: 0 });
  ({ port } = node.app.server.address() as AddressInfo);
});
afterEach(async () => {
  await node.close();
  await rm(folder, { recursive: true });
});

const URL_OF_INFER = '/v2/models/m/infer';
const ROW = JSON.stringify({ id: 'é', inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 2], data: [1, 2] }] });

const overSocket: Ask = (...asked) => socketTo(port)(...asked);
const throughFramework: Ask = (...asked) => frameworkOf(node.app)(...asked);

const raw = Buffer.from(Float32Array.of(1, 2).buffer);
const many = JSON.stringify({
  inputs: [{ name: 'features', datatype: 'FP32', shape: [200, 2], data: Array.from({ length: 400 }, (_, i) => i) }],
});
const binaryHead = JSON.stringify({
  inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 2], parameters: { binary_data_size: 8 } }],
  outputs: [{ name: 'score', parameters: { binary_data: true } }],
});

test.each<[string, string, Buffer | string, Record<string, string>]>([
  ['JSON', URL_OF_INFER, ROW, {}],
  ['a version', '/v2/models/m/versions/1/infer', ROW, {}],
  [
    'binary tensors',
    URL_OF_INFER,
    Buffer.concat([Buffer.from(binaryHead), raw]),
    { 'inference-header-content-length': String(Buffer.byteLength(binaryHead)) },
  ],
  ['raw bytes', URL_OF_INFER, raw, { 'inference-header-content-length': '0' }],
  ['a request id', URL_OF_INFER, ROW, { 'x-request-id': 'mine' }],
  ['a compressed body', URL_OF_INFER, gzipSync(ROW), { 'content-encoding': 'gzip' }],
  ['an answer to be compressed', URL_OF_INFER, many, { 'accept-encoding': 'gzip' }],
  ['an encoded name', '/v2/models/%6D/infer', ROW, {}],
  ['a query', `${URL_OF_INFER}?a=b`, ROW, {}],
  ['no JSON', URL_OF_INFER, '{', {}],
  ['a wrong length of JSON', URL_OF_INFER, ROW, { 'inference-header-content-length': 'x' }],
  ['an unknown model', '/v2/models/other/infer', ROW, {}],
  ['an unknown version', '/v2/models/m/versions/7/infer', ROW, {}],
  ['no body', URL_OF_INFER, '', {}],
])('%s is answered over a socket as by the framework', async (_, url, body, headers) => {
  const [direct, framework] = [await overSocket(url, body, headers), await throughFramework(url, body, headers)];
  expect(comparable(direct, headers)).toEqual(comparable(framework, headers));
});

test('a compressed answer holds what the plain one does', async () => {
  const [plain, zipped] = [
    await overSocket(URL_OF_INFER, many),
    await overSocket(URL_OF_INFER, many, { 'accept-encoding': 'gzip' }),
  ];
  expect(gunzipSync(zipped.body).equals(plain.body)).toBe(true);
});

test('a body in many pieces is put together', async () => {
  const call = httpRequest({ port, path: URL_OF_INFER, method: 'POST', headers: { 'content-length': '4096' } });
  const answer = once(call, 'response') as Promise<[IncomingMessage]>;
  const padded = ROW.padEnd(4096 - 1, ' ');
  call.setNoDelay(true);
  for (let at = 0; at < padded.length; at += 512) {
    call.write(padded.slice(at, at + 512));
    await new Promise((resolve) => setImmediate(resolve));
  }
  call.end();
  const [response] = await answer;
  expect(response.statusCode).toBe(200);
  expect(JSON.parse((await response.toArray()).join(''))).toMatchObject({ outputs: [{ data: [2.25] }] });
});

test('pipelined requests are answered in their order, refused ones included', async () => {
  const bodies = Array.from({ length: 20 }, (_, i) =>
    i % 5 === 3 ? '{}' : ROW.replace('[1,2]}', `[${i},0]}`).replace('é', `r${i}`),
  );
  const socket = connect(port, '127.0.0.1');
  const head = (body: string, last: boolean): string =>
    `POST ${URL_OF_INFER} HTTP/1.1\r\nhost: x\r\n${last ? 'connection: close\r\n' : ''}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  socket.write(bodies.map((body, i) => head(body, i === bodies.length - 1)).join(''));
  const text = Buffer.concat((await socket.toArray()) as Buffer[]).toString('latin1');
  const answers = text.split('HTTP/1.1 ').slice(1);
  expect(answers.map((answer) => answer.slice(0, 3))).toEqual(bodies.map((body) => (body === '{}' ? '400' : '200')));
  answers.forEach((answer, i) => {
    if (bodies[i] !== '{}') expect(answer).toMatch(new RegExp(`"id":"r${i}".*"data":\\[${i + 0.25}\\]`, 's'));
  });
});

test('a client that leaves in the middle of its body disturbs nobody', async () => {
  const socket = connect(port, '127.0.0.1');
  socket.write(`POST ${URL_OF_INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{"inputs"`);
  await once(socket, 'connect');
  socket.resetAndDestroy();
  expect((await overSocket(URL_OF_INFER, ROW)).status).toBe(200);
});

test('a server that leaves sends its connections away with their answers', async () => {
  const agent = { connection: 'keep-alive' };
  expect((await overSocket(URL_OF_INFER, ROW, agent)).headers['connection']).toBe('keep-alive');
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const drained = createDrain(node.app).start();
  const ask = `POST ${URL_OF_INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: ${Buffer.byteLength(ROW)}\r\n\r\n${ROW}`;
  let text = '';
  socket.on('data', (piece: Buffer) => {
    text += piece.toString();
    if (/\r\n\r\n.*\]\}\]\}/s.test(text) && !/connection: close/i.test(text)) {
      text = '';
      socket.write(ask);
    }
  });
  socket.write(ask);
  await Promise.all([drained, once(socket, 'end')]);
  expect(text).toMatch(/connection: close/i);
  expect(text).toContain('"data":[2.25]');
});

test('an answer names our span in the trace of its request, by both ways', async () => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  const headers = { traceparent: `00-${trace}-00f067aa0ba902b7-01` };
  for (const ask of [overSocket, throughFramework]) {
    expect((await ask(URL_OF_INFER, ROW, headers)).headers['traceparent']).toMatch(
      new RegExp(`^00-${trace}-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$`),
    );
    expect((await ask(URL_OF_INFER, ROW, { traceparent: 'not a trace' })).headers).not.toHaveProperty('traceparent');
  }
});
