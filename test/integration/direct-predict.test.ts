import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Ask, comparable, overSocket as socketTo, throughFramework as frameworkOf } from '../setup/both-ways.ts';
import { GOOD_INSTANCE, GOOD_SCORE, PREDICT, type RoutedModel, startRoutedModel } from './oip/routed-model.ts';

let routed: RoutedModel;
beforeAll(async () => {
  routed = await startRoutedModel();
});
afterAll(() => routed.close());

const overSocket: Ask = (...asked) => socketTo(routed.port)(...asked);
const throughFramework: Ask = (...asked) => frameworkOf(routed.node.app)(...asked);

/** At a given moment, so that two answers are alike. */
const INSTANCE = JSON.stringify({ ...JSON.parse(GOOD_INSTANCE), id: 'é', asOf: '2026-01-01T00:00:00Z' });
const MANY = JSON.stringify({
  instances: ['a', 'b'].map((id) => ({ ...JSON.parse(INSTANCE), id })),
});
const WRONG = JSON.stringify({ ...JSON.parse(INSTANCE), wrong: 1 });

test.each<[string, string, Buffer | string, Record<string, string>, number]>([
  ['an instance', PREDICT, INSTANCE, {}, 200],
  ['some instances', PREDICT, MANY, { 'content-type': 'application/json' }, 200],
  ['another content type', PREDICT, INSTANCE, { 'content-type': 'text/plain' }, 200],
  ['a request id', PREDICT, INSTANCE, { 'x-request-id': 'mine' }, 200],
  ['an empty request id', PREDICT, INSTANCE, { 'x-request-id': '' }, 200],
  ['a compressed body', PREDICT, gzipSync(INSTANCE), { 'content-encoding': 'gzip' }, 200],
  ['a query', `${PREDICT}?explain=features`, INSTANCE, {}, 200],
  ['a query that is not known', `${PREDICT}?explain=all`, INSTANCE, {}, 400],
  ['a field that is none', PREDICT, WRONG, {}, 400],
  ['no JSON', PREDICT, '{', {}, 400],
  ['no UTF-8', PREDICT, Buffer.of(0x22, 0xff, 0x22), {}, 400],
  ['no object', PREDICT, '[]', {}, 400],
  ['no body', PREDICT, '', {}, 400],
  ['an unknown model', '/v1/models/other/predict', INSTANCE, {}, 404],
  ['a version without a token', PREDICT, INSTANCE, { 'x-serin-version': '1' }, 401],
  ['a deadline that is none', PREDICT, INSTANCE, { 'x-serin-deadline-ms': 'soon' }, 400],
  ['a priority that is none', PREDICT, INSTANCE, { 'x-serin-priority': 'vip' }, 400],
])('%s is answered over a socket as by the framework', async (_, path, body, headers, status) => {
  const [direct, framework] = [await overSocket(path, body, headers), await throughFramework(path, body, headers)];
  expect(direct.status).toBe(status);
  expect(comparable(direct, headers)).toEqual(comparable(framework, headers));
});

test('a prediction that cannot be in time is refused alike, and told when to try again', async () => {
  const headers = { 'x-serin-deadline-ms': '0.000001' };
  // what a batch takes must be known first
  for (let i = 0; i < 5; i++)
    expect((await overSocket(PREDICT, INSTANCE)).body.toString()).toContain(`"score":${GOOD_SCORE}`);
  for (const ask of [overSocket, throughFramework]) {
    const refused = await ask(PREDICT, INSTANCE, headers);
    expect([refused.status, refused.headers['retry-after'], refused.headers['content-type']]).toEqual([
      503,
      '1',
      'application/problem+json; charset=utf-8',
    ]);
    expect(JSON.parse(refused.body.toString())).toMatchObject({
      code: 'OVERLOADED',
      reason: 'deadline',
      instance: PREDICT,
    });
  }
});

test('an answer names our span in the trace of its request, by both ways', async () => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  const headers = { traceparent: `00-${trace}-00f067aa0ba902b7-01` };
  for (const ask of [overSocket, throughFramework]) {
    expect((await ask(PREDICT, INSTANCE, headers)).headers['traceparent']).toMatch(
      new RegExp(`^00-${trace}-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$`),
    );
    expect((await ask(PREDICT, INSTANCE, { traceparent: 'not a trace' })).headers).not.toHaveProperty('traceparent');
  }
});
