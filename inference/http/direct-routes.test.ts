/** Clients that are slow or leave, at the routes that are answered before the framework. */
import { connect, type Socket } from 'node:net';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLogger } from '../../platform/logger.ts';
import type { Door } from '../admission/admission.ts';
import { problemRefusal } from '../admission/refusal.ts';
import { installDirectRoute, send } from './direct-routes.ts';
import { createInferenceApp } from './inference-app.ts';

const TIMEOUT_MS = 600;
const OPEN: Door = { admit: () => null, charge: () => undefined, hold: () => null, letGo: () => undefined };

let app: ReturnType<typeof createInferenceApp>;
let port: number;
let answered: string[];

beforeEach(async () => {
  answered = [];
  app = createInferenceApp({
    logger: createLogger({ service: 'inference', node: 'test', level: 'silent' }),
    registry: new Registry(),
    readiness: () => ({ ready: true, checks: {} }),
    connections: {
      headersTimeoutMs: TIMEOUT_MS,
      requestTimeoutMs: TIMEOUT_MS,
      keepAliveTimeoutMs: 5_000,
      maxConnections: 100,
    },
  });
  installDirectRoute(app, {
    path: /^\/say\/(\w+)$/,
    bodyLimitBytes: 1_000,
    door: OPEN,
    refusal: { type: 'application/problem+json', write: problemRefusal },
    answer({ request, response, body }) {
      answered.push(body.toString());
      send(request, response, { status: 200, type: 'text/plain', body: 'said' });
      return Promise.resolve();
    },
    sendError: (_request, _response, error) => {
      throw error;
    },
  });
  port = Number(new URL(await app.listen({ host: '127.0.0.1', port: 0 })).port);
});
afterEach(() => app.close());

const head = (length: number): string => `POST /say/it HTTP/1.1\r\nhost: x\r\ncontent-length: ${length}\r\n\r\n`;

/** All that a socket hears until it is closed. */
async function heard(socket: Socket): Promise<string> {
  return Buffer.concat((await socket.toArray()) as Buffer[]).toString();
}

test('a body that dribbles is let go when its time is over, and who sends it is told; others are answered meanwhile', async () => {
  const slow = connect(port, '127.0.0.1');
  slow.write(head(900));
  const dribble = setInterval(() => slow.write('1'), 20);
  const told = heard(slow).finally(() => clearInterval(dribble));
  const quick = connect(port, '127.0.0.1');
  quick.write(`${head(2)}ab`);
  await expect.poll(() => answered).toEqual(['ab']);
  quick.destroy();
  const text = await told;
  expect(text).toMatch(/^HTTP\/1\.1 408 [^]*the request did not arrive in time/);
  expect(answered).toEqual(['ab']);
});

test('a body in pieces is whole when it is answered', async () => {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  socket.write(head(6));
  for (const piece of ['ab', 'cd', 'ef']) {
    socket.write(piece);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await expect.poll(() => answered).toEqual(['abcdef']);
  socket.destroy();
});

test('who leaves in the middle of a body is not answered, and leaves no connection behind', async () => {
  const sockets = Array.from({ length: 50 }, () => connect(port, '127.0.0.1'));
  for (const socket of sockets) socket.write(`${head(900)}half`);
  const connections = (): Promise<number> =>
    new Promise((resolve, reject) =>
      app.server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
    );
  await expect.poll(connections).toBe(50);
  for (const socket of sockets) socket.destroy();
  await expect.poll(connections).toBe(0);
  expect(answered).toEqual([]);
});
