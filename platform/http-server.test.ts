import type { AddressInfo } from 'node:net';
import { Registry } from 'prom-client';
import { Type } from 'typebox';
import { expect, test } from 'vitest';
import { SerinError } from '../domain/errors.ts';
import { createHttpServer, type Readiness } from './http-server.ts';
import { createLogger } from './logger.ts';
import { createMetrics } from './metrics.ts';

const logger = createLogger({ service: 'test', node: 'test', level: 'silent' });

function aServer(readiness: Readiness = { ready: true, checks: {} }, registry = new Registry()) {
  const app = createHttpServer({ logger, registry, readiness: () => readiness });
  const body = Type.Object(
    { rows: Type.Array(Type.Object({ asOf: Type.Integer() })) },
    { additionalProperties: false },
  );
  const querystring = Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 1 })) });
  app.post('/rows', { schema: { body, querystring } }, (request) => ({ query: request.query }));
  app.get('/conflict', () => {
    throw new SerinError('STAGE_CONFLICT', 'version 3 is at epoch 5, not 4', { fields: { epoch: 5 } });
  });
  app.get('/busy', () => {
    throw new SerinError('OVERLOADED', 'the queue holds 10 of 10 rows');
  });
  app.get('/bug', () => {
    throw new TypeError('secret detail');
  });
  return app;
}

test('a SerinError is a problem with its code and fields', async () => {
  const reply = await aServer().inject('/conflict?x=1');
  expect(reply.statusCode).toBe(409);
  expect(reply.headers['content-type']).toContain('application/problem+json');
  expect(reply.json()).toEqual({
    type: 'urn:serin:error:STAGE_CONFLICT',
    title: 'The version has moved on',
    status: 409,
    code: 'STAGE_CONFLICT',
    detail: 'version 3 is at epoch 5, not 4',
    instance: '/conflict',
    epoch: 5,
  });
});

test('a passing failure says when to come back', async () => {
  const reply = await aServer().inject('/busy');
  expect(reply.statusCode).toBe(503);
  expect(reply.headers['retry-after']).toBe('1');
});

test('a bug does not leak its message', async () => {
  const reply = await aServer().inject({ url: '/bug', headers: { 'x-request-id': 'r-1' } });
  expect(reply.statusCode).toBe(500);
  expect(reply.body).not.toContain('secret');
  expect(reply.json()).toMatchObject({ code: 'INTERNAL' });
  expect(reply.headers['x-request-id']).toBe('r-1');
});

test.each([
  [{ rows: [{ asOf: '5' }] }, 'body/rows/0/asOf is "5": must be integer', 'body/rows/0/asOf'],
  [{ rows: [{}] }, 'body/rows/0/asOf is missing: must be present', 'body/rows/0/asOf'],
  [{ rows: [], extra: 1 }, 'body/extra is 1: is not a known member', 'body/extra'],
])('the body %j is refused by field, value and rule', async (payload, detail, field) => {
  const reply = await aServer().inject({ method: 'POST', url: '/rows', payload });
  expect(reply.statusCode).toBe(400);
  expect(reply.json()).toMatchObject({ code: 'INPUT_INVALID', detail, violations: [{ field }] });
});

test('query strings are converted to the types of the schema, then checked', async () => {
  const accepted = await aServer().inject({ method: 'POST', url: '/rows?limit=7', payload: { rows: [] } });
  expect(accepted.json()).toEqual({ query: { limit: 7 } });
  const refused = await aServer().inject({ method: 'POST', url: '/rows?limit=0', payload: { rows: [] } });
  expect(refused.json()).toMatchObject({
    code: 'INPUT_INVALID',
    violations: [{ field: 'querystring/limit', value: '0' }],
  });
});

test.each([
  ['{', 400],
  ['', 400],
])('a body that is not JSON (%j) is a problem', async (payload, status) => {
  const reply = await aServer().inject({
    method: 'POST',
    url: '/rows',
    payload,
    headers: { 'content-type': 'application/json' },
  });
  expect(reply.statusCode).toBe(status);
  expect(reply.json()).toMatchObject({ code: 'INPUT_INVALID' });
});

test.each([
  ['application/x-www-form-urlencoded', 'the header content-type is "application/x-www-form-urlencoded"'],
  [undefined, 'the header content-type is missing'],
])('a body of the content type %j is told what to send', async (type, said) => {
  const reply = await aServer().inject({
    method: 'POST',
    url: '/rows',
    payload: '{"rows":[]}',
    headers: type === undefined ? {} : { 'content-type': type },
  });
  expect(reply.statusCode).toBe(415);
  expect(reply.json()).toMatchObject({ code: 'INPUT_INVALID', detail: `${said}: send application/json` });
});

test('an unknown address is a problem', async () => {
  const reply = await aServer().inject('/nowhere');
  expect(reply.statusCode).toBe(404);
  expect(reply.json()).toMatchObject({ code: 'NOT_FOUND', detail: 'nothing answers GET /nowhere' });
});

test('readiness answers 503 with what is wrong', async () => {
  expect((await aServer().inject('/health/ready')).statusCode).toBe(200);
  const reply = await aServer({ ready: false, checks: { database: 'no connection' } }).inject('/health/ready');
  expect(reply.statusCode).toBe(503);
  expect(reply.json()).toEqual({ status: 'not ready', checks: { database: 'no connection' } });
});

test('metrics carry the process, the node and the event loop', async () => {
  const reply = await aServer(undefined, createMetrics({ service: 'api', node: 'n1' })).inject('/metrics');
  expect(reply.body).toMatch(/serin_event_loop_utilization\{service="api",node="n1"\} [\d.e-]+/);
  expect(reply.body).toContain('process_resident_memory_bytes');
});

test('a connection that is lost while it is accepted ends nothing', async () => {
  const app = aServer();
  await app.listen({ host: '127.0.0.1', port: 0 });
  try {
    // as libuv hands on EPROTO from accept(2)
    const { _handle: handle } = app.server as unknown as { _handle: { onconnection(status: number): void } };
    expect(() => handle.onconnection(-71)).not.toThrow();
    const { port } = app.server.address() as AddressInfo;
    expect((await fetch(`http://127.0.0.1:${port}/health/live`)).status).toBe(200);
  } finally {
    await app.close();
  }
});

test('an address that is taken is told by listen', async () => {
  const [first, second] = [aServer(), aServer()];
  await first.listen({ host: '127.0.0.1', port: 0 });
  const { port } = first.server.address() as AddressInfo;
  await expect(second.listen({ host: '127.0.0.1', port })).rejects.toThrow('EADDRINUSE');
  await Promise.all([first.close(), second.close()]);
});
