/**
 * Requests that were right before something was done to them: whatever it was, the answer is 200 or a 4xx with an error in
 * JSON, and the next request is answered right. A failure names the seed and the request.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PredictResponse } from '../../../inference/openapi/product-schemas.ts';
import { InferResponse, ProtocolError } from '../../../inference/openapi/protocol-schemas.ts';
import { Problem } from '../../../platform/problem-schema.ts';
import { type BothServers, startBothServers } from './both-servers.ts';
import { httpRequest } from './fuzz-corpus/http-request.ts';
import { ALL_TYPES, GOOD, GOOD_SCORE, INFER } from './fuzz-corpus/infer-requests.ts';
import { schemaCheck } from './json-schema.ts';
import { exchange, type RawResponse } from './raw-http.ts';
import { GOOD_INSTANCE, GOOD_SCORE as PREDICTED, PREDICT } from './routed-model.ts';

const SEED = 20_261_121;
const RUNS = 1_000;
/** Requests before each that must be answered right. */
const TOGETHER = 10;
const TEST_MS = 300_000;

let both: BothServers;
beforeAll(async () => {
  both = await startBothServers();
});
afterAll(() => both.close());

/** Values that parsers and number types are wrong about, as JSON. */
const NASTY = [
  'null',
  'true',
  '-0',
  '0',
  '-1',
  '1e400',
  '-1e400',
  '1e-400',
  '0.1',
  '3.5e38',
  '2147483648',
  '9007199254740993',
  '18446744073709551616',
  '""',
  '"a"',
  '"1"',
  '"\\u0000"',
  '"\\ud800"',
  '"NaN"',
  '"FP64"',
  '[]',
  '[[]]',
  '[null]',
  '{}',
  '{"__proto__":{}}',
  '[1,2,3]',
  '[[1,2],[3]]',
  '"constructor"',
  '"2001-06-01T12:00:00Z"',
] as const;

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** The places of a document where something can be put: its members and elements, at any depth. */
function placesOf(value: Json, path: readonly (string | number)[] = []): (readonly (string | number)[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  const below = Array.isArray(value)
    ? value.flatMap((each, i) => placesOf(each, [...path, i]))
    : Object.entries(value).flatMap(([name, each]) => placesOf(each, [...path, name]));
  return [path, ...below];
}

/** The document as JSON with other JSON at one place; null takes the place away. */
function withAt(value: Json, [step, ...rest]: readonly (string | number)[], json: string | null): string {
  if (step === undefined) return json ?? '';
  const parts = Object.entries(value as object).flatMap(([name, each]: [string, Json]) => {
    const here = name === String(step);
    if (here && rest.length === 0 && json === null) return [];
    const written = here ? withAt(each, rest, json) : JSON.stringify(each);
    return [Array.isArray(value) ? written : `${JSON.stringify(name)}:${written}`];
  });
  return Array.isArray(value) ? `[${parts.join(',')}]` : `{${parts.join(',')}}`;
}

/** What may be done to the JSON of a request: another value somewhere, a place less, a place twice, bytes that are others. */
function mutations(good: string): fc.Arbitrary<Buffer> {
  const document = JSON.parse(good) as Json;
  const place = fc.constantFrom(...placesOf(document));
  const nasty = fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...NASTY) }, { weight: 1, arbitrary: fc.json() });
  const bytes = Buffer.from(good);
  const at = fc.nat(bytes.length - 1);
  return fc.oneof(
    { weight: 4, arbitrary: fc.tuple(place, nasty).map(([path, json]) => Buffer.from(withAt(document, path, json))) },
    { weight: 1, arbitrary: place.map((path) => Buffer.from(withAt(document, path, null))) },
    {
      weight: 2,
      arbitrary: fc.tuple(place, place, nasty, nasty).map(([a, b, x, y]) => {
        const once = withAt(document, a, x);
        try {
          return Buffer.from(withAt(JSON.parse(once) as Json, b, y));
        } catch {
          return Buffer.from(once);
        }
      }),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(at, fc.nat(255))
        .map(([i, byte]) => Buffer.concat([bytes.subarray(0, i), Buffer.of(byte), bytes.subarray(i + 1)])),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(at, fc.uint8Array({ maxLength: 8 }))
        .map(([i, more]) => Buffer.concat([bytes.subarray(0, i), more, bytes.subarray(i)])),
    },
    { weight: 1, arbitrary: at.map((i) => bytes.subarray(0, i + 1)) },
  );
}

/** JSON with binary data behind it, with lengths that may lie. */
const binaryRequests: fc.Arbitrary<Buffer> = fc
  .record({
    size: fc.constantFrom('8', '0', '7', '16', '-8', '1e400', '"8"', 'null', '4294967304'),
    off: fc.constantFrom(0, 0, 0, -1, 1, 5, -1_000),
    data: fc.uint8Array({ maxLength: 24 }),
    output: fc.boolean(),
  })
  .map(({ size, off, data, output }) => {
    const head = Buffer.from(
      `{"inputs":[{"name":"features","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":${size}}}],"parameters":{"binary_data_output":${output}}}`,
    );
    return httpRequest(
      'POST',
      INFER,
      { 'inference-header-content-length': String(head.length + off) },
      Buffer.concat([head, data]),
    );
  });

interface Target {
  /** Where an answer, and an error, are not what the protocol says. */
  readonly isAnswer: (answer: unknown) => readonly string[];
  readonly isError: (answer: unknown) => readonly string[];
  readonly port: () => number;
  readonly path: string;
  readonly good: string;
  /** Of the answer to `good`. */
  readonly isRight: (answer: unknown) => void;
  /** Whether a connection goes on after JSON that could not be read. */
  readonly keepsConnections: boolean;
}

const INFERENCE: Target = {
  isAnswer: schemaCheck(InferResponse),
  isError: schemaCheck(ProtocolError),
  port: () => both.files.port,
  path: INFER,
  good: GOOD,
  isRight: (answer) => expect(answer).toMatchObject({ id: 'good', outputs: [{ shape: [1, 1], data: [GOOD_SCORE] }] }),
  keepsConnections: true,
};
const PREDICTION: Target = {
  isAnswer: schemaCheck(PredictResponse),
  isError: schemaCheck(Problem),
  port: () => both.routed.port,
  path: PREDICT,
  good: GOOD_INSTANCE,
  isRight: (answer) => expect(answer).toMatchObject({ predictions: [{ predictionId: 'good', score: PREDICTED }] }),
  keepsConnections: false,
};

async function check(
  { port, path, good, isRight, isAnswer, isError, keepsConnections }: Target,
  requests: readonly Buffer[],
): Promise<void> {
  const all = [...requests, httpRequest('POST', path, {}, good)];
  const responses: RawResponse[] = [];
  for (const pieces of keepsConnections ? [all] : all.map((request) => [request])) {
    const expected = pieces.length;
    responses.push(
      ...(await exchange(port(), [Buffer.concat(pieces)], { responses: expected, deadlineMs: 30_000 })).responses,
    );
  }
  expect(responses).toHaveLength(all.length);
  for (const { status, headers, body } of responses) {
    expect([status, status === 200 || (status >= 400 && status < 500)]).toEqual([status, true]);
    const jsonBytes = Number(headers['inference-header-content-length'] ?? body.length);
    const answer = JSON.parse(body.subarray(0, jsonBytes).toString()) as unknown;
    expect([answer, status === 200 ? isAnswer(answer) : isError(answer)]).toEqual([answer, []]);
  }
  const last = responses.at(-1)!;
  expect(last.status).toBe(200);
  isRight(JSON.parse(last.body.toString()));
}

const everyType = JSON.stringify({
  id: 'all',
  inputs: ALL_TYPES.map((datatype, i) => ({
    name: `in${i}`,
    datatype,
    shape: [1, 2],
    data: datatype === 'BYTES' ? ['a', 'b'] : datatype === 'BOOL' ? [true, false] : [1, 2],
  })),
  outputs: [{ name: 'out0' }],
});
const post = (path: string) => (body: Buffer) => httpRequest('POST', path, {}, body.length === 0 ? ' ' : body);

test.each([
  ['infer requests', INFERENCE, mutations(GOOD).map(post(INFER))],
  ['infer requests of every datatype', INFERENCE, mutations(everyType).map(post('/v2/models/all/infer'))],
  ['binary infer requests', INFERENCE, binaryRequests],
  ['predict requests', PREDICTION, mutations(GOOD_INSTANCE).map(post(PREDICT))],
  ['lists of instances', PREDICTION, mutations(`{"instances":[${GOOD_INSTANCE}]}`).map(post(PREDICT))],
] as const)(
  '%s that something was done to are answered or refused',
  async (_name, target, requests) => {
    const together = fc.array(requests, { minLength: TOGETHER, maxLength: TOGETHER });
    await fc.assert(
      fc.asyncProperty(together, (some) => check(target, some)),
      { seed: SEED, numRuns: RUNS / TOGETHER },
    );
  },
  TEST_MS,
);

test('the server found none of it to be its own fault', () => {
  expect(both.files.log()).not.toMatch(/"level":"(error|fatal)"/);
});
