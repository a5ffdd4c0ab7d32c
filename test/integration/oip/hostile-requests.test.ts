/**
 * `serin serve` against clients that are wrong, broken or hostile: each request of the corpus gets a 4xx that names the rule,
 * nobody waits for ever, the next request is answered right, and memory stays where it was.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { identityOnnx } from '../../../inference/model/onnx-fixture.ts';
import { eventually } from '../../setup/eventually.ts';
import { FILE_MODELS } from './both-servers.ts';
import { type HostileCase, httpRequest } from './fuzz-corpus/http-request.ts';
import { BINARY_CASES, GOOD, GOOD_SCORE, INFER, INFER_CASES, TYPE_CASES } from './fuzz-corpus/infer-requests.ts';
import { jsonCases } from './fuzz-corpus/json-bodies.ts';
import { encodingCases, transportCases } from './fuzz-corpus/transport.ts';
import { exchange, type RawResponse } from './raw-http.ts';
import { type ServedModels, serveModels } from './serve-models.ts';

const BODY_LIMIT = 64 << 20;
const MAX_ERROR_BYTES = 2_000;
/** What the server may hold more after the corpus than before; single requests of it are up to 64 MiB. */
const MAX_GROWTH_BYTES = 400 << 20;

let server: ServedModels;
let restingBytes: number;

beforeAll(async () => {
  server = await serveModels({ ...FILE_MODELS, text: identityOnnx({ elementTypes: [8], width: 2 }) });
  await expectGoodAnswer();
  restingBytes = await residentBytes();
});
afterAll(() => server.close());

async function expectGoodAnswer(): Promise<void> {
  const { responses } = await exchange(server.port, [httpRequest('POST', INFER, {}, GOOD)]);
  expect(responses.map(({ status, body }) => [status, JSON.parse(body.toString())])).toEqual([
    [
      200,
      {
        model_name: 'm',
        model_version: '1',
        id: 'good',
        outputs: [{ name: 'score', datatype: 'FP32', shape: [1, 1], data: [GOOD_SCORE] }],
      },
    ],
  ]);
}

async function residentBytes(): Promise<number> {
  const page = await (await fetch(`${server.url}/metrics`)).text();
  return Number(/^process_resident_memory_bytes\S* (\S+)$/m.exec(page)?.[1]);
}

function errorOf({ headers, body }: RawResponse): unknown {
  expect(headers['content-type']).toMatch(/^application\/(problem\+)?json/);
  const answer = JSON.parse(body.toString()) as { error?: unknown; detail?: unknown };
  return answer.error ?? answer.detail;
}

async function check({ pieces, status, rule }: HostileCase): Promise<void> {
  const { responses } = await exchange(server.port, pieces);
  expect(responses[0]?.status).toBe(status);
  if (rule !== null) {
    expect(errorOf(responses[0]!)).toContain(rule);
    expect(responses[0]!.body.length).toBeLessThan(MAX_ERROR_BYTES);
  }
  await expectGoodAnswer();
}

const named = (cases: readonly HostileCase[]) => cases.map((each) => [each.name, each.status, each] as const);

describe('on the way', () => {
  test.each(named(transportCases(INFER, GOOD, BODY_LIMIT)))('%s: %s', (_name, _status, each) => check(each));
});
describe('packed', () => {
  test.each(named(encodingCases(INFER, GOOD)))('%s: %s', (_name, _status, each) => check(each));
});
describe('as JSON', () => {
  test.each(named(jsonCases(INFER, GOOD)))('%s: %s', (_name, _status, each) => check(each));
});
describe('as an infer request', () => {
  test.each(named(INFER_CASES))('%s: %s', (_name, _status, each) => check(each));
});
describe('of a datatype', () => {
  test.each(named(TYPE_CASES))('%s: %s', (_name, _status, each) => check(each));
});
describe('with binary data', () => {
  test.each(named(BINARY_CASES))('%s: %s', (_name, _status, each) => check(each));
});

test('pipelined requests are answered in order, each by its own', async () => {
  const ids = Array.from({ length: 50 }, (_, i) => `id-${i}`);
  const request = (id: string) => httpRequest('POST', INFER, {}, GOOD.replace('"good"', `"${id}"`));
  const bad = httpRequest('POST', INFER, {}, '{"inputs":7}');
  const { responses } = await exchange(server.port, [Buffer.concat([...ids.map(request), bad, request('last')])], {
    responses: 52,
  });
  expect(responses.map(({ status }) => status)).toEqual([...ids.map(() => 200), 400, 200]);
  const answered = responses.filter(({ status }) => status === 200);
  expect(answered.map(({ body }) => (JSON.parse(body.toString()) as { id: string }).id)).toEqual([...ids, 'last']);
});

test('garbage behind a request is never the answer to the request', async () => {
  const { responses } = await exchange(server.port, [
    Buffer.concat([httpRequest('POST', INFER, {}, GOOD), Buffer.from('garbage\r\n\r\n')]),
  ]);
  // the connection may end without an answer, but a 400 would be taken for that of the good request
  expect(responses.filter(({ status }) => status !== 200)).toEqual([]);
  await expectGoodAnswer();
});

test('who leaves in the middle of a request leaves nothing behind', async () => {
  const whole = httpRequest('POST', INFER, {}, GOOD);
  const connections = async () =>
    Number(/^nodejs_active_handles_total\S* (\d+)$/m.exec(await (await fetch(`${server.url}/metrics`)).text())?.[1]);
  const before = await connections();
  await Promise.all(
    Array.from({ length: 100 }, (_, i) => exchange(server.port, [whole.subarray(0, 1 + i)], { responses: 0 })),
  );
  await eventually('the connections are closed', async () => (await connections()) <= before + 5);
  await expectGoodAnswer();
});

test('slow clients are let go: a head that dribbles, and silence; others are served meanwhile', async () => {
  const dribble = [`POST ${INFER} HTTP/1.1\r\n`, 'host: a\r\n', ...Array.from({ length: 200 }, () => 'x: y\r\n')];
  const slow = Promise.all([
    ...Array.from({ length: 20 }, () => exchange(server.port, dribble, { pauseMs: 100, deadlineMs: 60_000 })),
    exchange(server.port, [], { deadlineMs: 60_000 }),
  ]);
  for (let i = 0; i < 20; i++) await expectGoodAnswer();
  const statuses = (await slow).flatMap(({ responses }) => responses.map(({ status }) => status));
  expect(statuses).toEqual(statuses.map(() => 408));
  await expectGoodAnswer();
});

test('memory stays where it was, and the log holds no fault of the server', async () => {
  await eventually('memory is given back', async () => (await residentBytes()) < restingBytes + MAX_GROWTH_BYTES);
  expect(server.log()).not.toMatch(/"level":(50|60|"error"|"fatal")|UnhandledPromise|Uncaught/);
});
