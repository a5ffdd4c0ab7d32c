/** The predict route against clients that are wrong, broken or hostile; as hostile-requests.test.ts, with a routed node. */
import { gzipSync } from 'node:zlib';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createInferenceApp } from '../../../inference/http/inference-app.ts';
import { createLogger } from '../../../platform/logger.ts';
import { type HostileCase, httpRequest } from './fuzz-corpus/http-request.ts';
import { jsonCases } from './fuzz-corpus/json-bodies.ts';
import { predictCases } from './fuzz-corpus/predict-requests.ts';
import { encodingCases, transportCases } from './fuzz-corpus/transport.ts';
import { exchange } from './raw-http.ts';
import { GOOD_INSTANCE, GOOD_SCORE, PREDICT, type RoutedModel, startRoutedModel } from './routed-model.ts';

const BODY_LIMIT = 8 << 20;
const MAX_ERROR_BYTES = 3_000;
let routed: RoutedModel;

beforeAll(async () => {
  routed = await startRoutedModel();
});
afterAll(() => routed.close());

async function expectGoodAnswer(headers = {}, body: string | Buffer = GOOD_INSTANCE): Promise<void> {
  const { responses } = await exchange(routed.port, [httpRequest('POST', PREDICT, headers, body)]);
  expect(responses.map(({ status }) => status)).toEqual([200]);
  expect(JSON.parse(responses[0]!.body.toString())).toMatchObject({
    model: 'delay',
    predictions: [{ predictionId: 'good', score: GOOD_SCORE, label: 0, rung: 'champion' }],
  });
}

async function check({ pieces, status, rule }: HostileCase): Promise<void> {
  const { responses } = await exchange(routed.port, pieces);
  expect(responses[0]?.status).toBe(status);
  if (rule !== null) {
    const { headers, body } = responses[0]!;
    expect(headers['content-type']).toMatch(/^application\/(problem\+)?json/);
    const answer = JSON.parse(body.toString()) as { detail?: string; error?: string };
    expect(answer.detail ?? answer.error).toContain(rule);
    expect(body.length).toBeLessThan(MAX_ERROR_BYTES);
  }
  await expectGoodAnswer();
}

const named = (cases: readonly HostileCase[]) => cases.map((each) => [each.name, each.status, each] as const);

describe('on the way', () => {
  test.each(named(transportCases(PREDICT, GOOD_INSTANCE, BODY_LIMIT)))('%s: %s', (_name, _status, each) => check(each));
});
describe('packed', () => {
  test.each(named(encodingCases(PREDICT, GOOD_INSTANCE)))('%s: %s', (_name, _status, each) => check(each));
  test('a gzip is unpacked', () => expectGoodAnswer({ 'content-encoding': 'gzip' }, gzipSync(GOOD_INSTANCE)));
});
describe('as JSON', () => {
  test.each(named(jsonCases(PREDICT, GOOD_INSTANCE)))('%s: %s', (_name, _status, each) => check(each));
});
describe('as an instance', () => {
  test.each(named(predictCases(PREDICT)))('%s: %s', (_name, _status, each) => check(each));
});

test('a body that dribbles is let go when its time is over, and who sends it is told', async () => {
  const app = createInferenceApp({
    logger: createLogger({ service: 'inference', node: 'test', level: 'silent' }),
    registry: new Registry(),
    readiness: () => ({ ready: true, checks: {} }),
    connections: { headersTimeoutMs: 500, requestTimeoutMs: 500, keepAliveTimeoutMs: 5_000, maxConnections: 100 },
  });
  app.post('/', ({ body }) => body);
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  try {
    const pieces = ['POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 900\r\n\r\n', ...new Array<string>(400).fill('1')];
    const { responses } = await exchange(Number(new URL(url).port), pieces, { pauseMs: 50, deadlineMs: 30_000 });
    expect(responses.map(({ status, body }) => [status, JSON.parse(body.toString())])).toEqual([
      [408, expect.objectContaining({ detail: 'the request did not arrive in time' })],
    ]);
  } finally {
    await app.close();
  }
});
