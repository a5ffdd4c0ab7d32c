import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { deliver, isPublic, signatureOf } from './callback.ts';

interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

let server: Server | undefined;
afterEach(() => server?.close());

/** Answers with the given statuses, one after the other. */
async function aReceiver(...statuses: number[]): Promise<{ url: string; received: Received[] }> {
  const received: Received[] = [];
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      received.push({ headers: request.headers, body });
      response.writeHead(statuses.shift() ?? 500, { location: '/elsewhere' }).end('whatever');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`, received };
}

const callback = {
  secret: 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD',
  id: 'p-1',
  body: '{"id":"p-1"}',
  timestamp: 1_700_000_000,
};
const signal = new AbortController().signal;

test('the signature is that of Standard Webhooks, over id, time and body', () => {
  // the example of the specification's reference libraries
  expect(
    signatureOf(
      'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      1_614_265_330,
      '{"test": 2432232314}',
    ),
  ).toBe('g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
});

test('a receiver is told the trace that the request belonged to', async () => {
  const { url, received } = await aReceiver(204);
  const trace = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', tracestate: 'a=b' };
  await deliver({ ...callback, url, trace }, true, signal);
  expect(received[0]!.headers).toMatchObject(trace);
});

test('a receiver gets the body with id, time and signature', async () => {
  const { url, received } = await aReceiver(204);
  await deliver({ ...callback, url }, true, signal);
  expect(received).toHaveLength(1);
  expect(received[0]!.body).toBe(callback.body);
  expect(received[0]!.headers).toMatchObject({
    'content-type': 'application/json; charset=utf-8',
    'webhook-id': 'p-1',
    'webhook-timestamp': '1700000000',
    'webhook-signature': `v1,${signatureOf(callback.secret, 'p-1', 1_700_000_000, callback.body)}`,
  });
});

test.each([500, 404, 302])(
  'an answer of %i is not taken for delivered, and a redirect is not followed',
  async (status) => {
    const { url, received } = await aReceiver(status, 200);
    await expect(deliver({ ...callback, url }, true, signal)).rejects.toMatchObject({
      code: 'CALLBACK_FAILED',
      retryable: true,
    });
    expect(received).toHaveLength(1);
  },
);

test('nobody there is a failure that passes', async () => {
  await expect(deliver({ ...callback, url: 'http://127.0.0.1:1/' }, true, signal)).rejects.toMatchObject({
    code: 'CALLBACK_FAILED',
  });
});

test.each([
  'http://example.com/hook',
  'https://127.0.0.1/',
  'https://2130706433/',
  'https://0x7f.1/',
  'https://[::1]/',
  'https://[::ffff:169.254.169.254]/',
  'https://10.1.2.3/',
  'https://169.254.169.254/latest/meta-data',
  'https://[fd00::1]/',
  'https://localhost/',
  'https://127.0.0.1.:443/',
])('%s is refused where only public addresses may be called', async (url) => {
  await expect(deliver({ ...callback, url }, false, signal)).rejects.toMatchObject({
    code: 'CALLBACK_REFUSED',
    retryable: false,
  });
});

test.each([
  ['8.8.8.8', true],
  ['172.15.0.1', true],
  ['172.16.0.1', false],
  ['100.64.0.1', false],
  ['0.0.0.0', false],
  ['224.0.0.1', false],
  ['255.255.255.255', false],
  ['2606:4700::1111', true],
  ['2001:db8::1', false],
  ['2002:7f00:1::', false],
  ['fe80::1', false],
  ['::', false],
  ['::ffff:8.8.8.8', false],
  ['64:ff9b::7f00:1', false],
])('%s is public: %s', (address, expected) => {
  expect(isPublic(address)).toBe(expected);
});
