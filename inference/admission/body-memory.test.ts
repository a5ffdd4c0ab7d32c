import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createLogger } from '../../platform/logger.ts';
import { linearOnnx } from '../model/onnx-fixture.ts';
import type { ServingNode } from '../process/serving-node.ts';
import { startStandaloneNode } from '../process/standalone-node.ts';

const MIB = 2 ** 20;
const ROW = JSON.stringify({ inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 2], data: [1, 2] }] });
/** The same, in a MiB. */
const LARGE = ROW.padEnd(MIB, ' ');

const agent = new Agent({ keepAlive: true, maxSockets: 1 });
let folder: string;
let node: ServingNode;
let port: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-bodies-'));
  const path = join(folder, 'm.onnx');
  await writeFile(path, linearOnnx({ weights: [1, 0.5], bias: 0.25 }));
  const logger = createLogger({ service: 'inference', node: 'test', level: 'silent' });
  node = await startStandaloneNode([{ name: 'm', path }], { nodeId: 'test', inferenceBodyMemoryMib: 2 }, logger);
  await node.app.listen({ host: '127.0.0.1', port: 0 });
  ({ port } = node.app.server.address() as AddressInfo);
});
afterEach(async () => {
  await node.close();
  await rm(folder, { recursive: true });
});

async function heldBytes(): Promise<number> {
  const { values } = await node.registry.getSingleMetric('serin_inference_body_bytes')!.get();
  return values[0]!.value;
}

type Headers = Record<string, string | number>;

const post = (headers: Headers, over?: Agent): ClientRequest =>
  httpRequest({ port, path: '/v2/models/m/infer', method: 'POST', headers, ...(over && { agent: over }) });

async function ask(body: string, headers: Headers): Promise<{ status: number; error?: string }> {
  const request = post(headers, agent);
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const { error } = JSON.parse(await text(response)) as { error?: string };
  return { status: response.statusCode!, ...(error !== undefined && { error }) };
}

test.each<[string, (bytes: number) => Headers]>([
  ['of a length that was announced', (bytes) => ({ 'content-length': bytes })],
  ['in chunks', () => ({ 'transfer-encoding': 'chunked' })],
])(
  'bodies %s hold so much memory together and no more, until they are answered or given up',
  async (_what, headers) => {
    const slow = post(headers(4 * MIB));
    slow.on('error', () => undefined);
    slow.write(LARGE + LARGE.slice(MIB / 2));
    await vi.waitFor(async () => expect(await heldBytes()).toBeGreaterThan(1.4 * MIB), { timeout: 10_000 });

    expect(await ask(LARGE, headers(MIB))).toEqual({
      status: 503,
      error: expect.stringContaining('SERIN_INFERENCE_BODY_MEMORY_MIB'),
    });
    // small ones need no room, and what was left of the large one does not get in their way
    expect(await ask(ROW, { 'content-length': ROW.length })).toEqual({ status: 200 });

    slow.destroy();
    await vi.waitFor(async () => expect(await heldBytes()).toBe(0), { timeout: 10_000 });
    expect((await ask(LARGE, headers(MIB))).status).toBe(200);
    await vi.waitFor(async () => expect(await heldBytes()).toBe(0), { timeout: 10_000 });
  },
);
