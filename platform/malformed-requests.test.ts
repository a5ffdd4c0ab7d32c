import { connect } from 'node:net';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createHttpServer } from './http-server.ts';
import { createLogger } from './logger.ts';

const app = createHttpServer({
  logger: createLogger({ service: 'test', node: 'test', level: 'silent' }),
  registry: new Registry(),
  readiness: () => ({ ready: true, checks: {} }),
});
let release: () => void = () => undefined;
const held = new Promise<void>((resolve) => (release = resolve));
app.get('/held', async () => {
  await held;
  return { held: true };
});
app.get('/things/:name', () => ({}));
let port: number;

beforeAll(async () => {
  port = Number(new URL(await app.listen({ host: '127.0.0.1', port: 0 })).port);
});
afterAll(() => app.close());

/** All that the server says until it closes the connection. */
function told(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes, 'latin1'));
    socket.on('data', (part) => (text += part.toString()));
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
  });
}

test.each([
  ['GARBAGE\r\n\r\n', 400, 'this is no HTTP/1.1 request: '],
  [`GET / HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, 431, 'larger than 16 KiB'],
])('%j is a problem that says why, and the end of the connection', async (bytes, status, rule) => {
  const [head, body] = (await told(bytes)).split('\r\n\r\n') as [string, string];
  expect(head).toContain(`HTTP/1.1 ${status} `);
  expect(head).toContain('content-type: application/problem+json');
  const problem = JSON.parse(body) as { detail: string; error: string };
  expect(problem).toMatchObject({ status, code: 'INPUT_INVALID', detail: expect.stringContaining(rule) });
  expect(problem.error).toBe(problem.detail);
});

test('what comes behind a request that is being answered is no answer to it', async () => {
  expect(await told('GET /held HTTP/1.1\r\nhost: a\r\n\r\nGARBAGE\r\n\r\n')).toBe('');
  release();
});

test('an address that cannot be decoded, and a method that an address does not answer, are problems', async () => {
  const bad = await app.inject('/things/%ff');
  expect([bad.statusCode, bad.json()]).toEqual([400, expect.objectContaining({ code: 'INPUT_INVALID', status: 400 })]);
  const wrong = await app.inject({
    method: 'POST',
    url: '/things/a',
    payload: 'no JSON',
    headers: { 'content-type': 'a' },
  });
  expect([wrong.statusCode, wrong.headers['allow'], wrong.json()]).toEqual([
    405,
    'GET, HEAD',
    expect.objectContaining({
      code: 'METHOD_NOT_ALLOWED',
      detail: 'POST /things/a is not answered; it takes GET, HEAD',
    }),
  ]);
  expect((await app.inject('/things/a/b')).json()).toMatchObject({ code: 'NOT_FOUND' });
  expect((await app.inject(`/things/${'a'.repeat(300)}`)).statusCode).toBe(414);
});
