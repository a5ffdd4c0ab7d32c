/** Calls over gRPC that the real client does not send, to the real `serin serve`: traces, names and tensors that are wrong. */
import { Client, credentials, Metadata, type MethodDefinition, type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { linearOnnx } from '../../../inference/model/onnx-fixture.ts';
import { GRPC_SERVICE, type Message } from '../../../inference/oip/grpc-messages.ts';
import { type ServedModels, serveModels } from './serve-models.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const TRACEPARENT = `00-${TRACE}-b7ad6b7169203331-01`;
/** Clients of gRPC's C core take headers up to this by default. */
const MAX_HEADER_BYTES = 8 << 10;

let server: ServedModels;
let client: Client;
beforeAll(async () => {
  server = await serveModels({ m: linearOnnx({ weights: [1, 0.5], bias: 0.25 }) });
  client = new Client(`127.0.0.1:${server.grpcPort}`, credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await server.close();
});

interface Answered {
  readonly answer: Message | null;
  readonly error: ServiceError | null;
  /** The answer's; of an error, what came with it. */
  readonly metadata: Metadata;
}

function call(
  { path, requestSerialize, responseDeserialize }: MethodDefinition<Message, Message>,
  request: Message,
  headers: readonly (readonly [string, string])[] = [],
): Promise<Answered> {
  const sent = new Metadata();
  for (const [name, value] of headers) sent.add(name, value);
  return new Promise((resolve) => {
    let metadata = new Metadata();
    client
      .makeUnaryRequest(path, requestSerialize, responseDeserialize, request, sent, (error, answer) => {
        if (error) metadata.merge(error.metadata);
        resolve({ answer: answer ?? null, error, metadata });
      })
      .on('metadata', (given) => (metadata = given));
  });
}

const FEATURES = { name: 'features', datatype: 'FP32', shape: [1, 2] };
const inferRequest = (input: object, more: object = {}): Message => ({
  model_name: 'm',
  inputs: [{ ...FEATURES, contents: { fp32_contents: [4, 2] }, ...input }],
  ...more,
});
const infer = (input: object = {}, more: object = {}, headers: readonly (readonly [string, string])[] = []) =>
  call(GRPC_SERVICE.ModelInfer, inferRequest(input, more), headers);

const ourSpan = new RegExp(`^00-${TRACE}-(?!b7ad6b7169203331)[0-9a-f]{16}-01$`);

test('an answer names our span in the trace of its call, and so does a refusal', async () => {
  const headers = [
    ['traceparent', TRACEPARENT],
    ['tracestate', 'a=1'],
    ['tracestate', 'b=2'],
  ] as const;
  const answered = await infer({}, {}, headers);
  expect(answered.error).toBeNull();
  expect(answered.metadata.get('traceparent')).toEqual([expect.stringMatching(ourSpan)]);
  const refused = await infer({ shape: [1, 3] }, {}, headers);
  expect(refused.error?.code).toBe(status.INVALID_ARGUMENT);
  expect(refused.metadata.get('traceparent')).toEqual([expect.stringMatching(ourSpan)]);
});

test.each([
  ['none', []],
  ['one that is cut short', [['traceparent', TRACEPARENT.slice(0, -1)]]],
  [
    'two',
    [
      ['traceparent', TRACEPARENT],
      ['traceparent', TRACEPARENT],
    ],
  ],
] as const)('a call with a traceparent that is none is answered without: %s', async (_name, headers) => {
  const { error, metadata } = await infer({}, {}, headers);
  expect([error, metadata.get('traceparent')]).toEqual([null, []]);
});

test.each([
  ['a surrogate pair at every place where a message could be cut', `a${'🛫'.repeat(5_000)}`],
  ['the same, one further', '🛫'.repeat(5_000)],
  ['texts that grow in a header', '☃'.repeat(100_000)],
])('a long name is repeated cut short, in a header that clients take: %s', async (_name, model_name) => {
  for (const { error } of [
    await infer({}, { model_name }),
    await call(GRPC_SERVICE.ModelMetadata, { name: model_name }),
  ]) {
    expect(error).toMatchObject({ code: status.NOT_FOUND, details: expect.stringMatching(/^unknown model '/) });
    expect(encodeURI(error!.details).length).toBeLessThan(MAX_HEADER_BYTES - 1_000);
  }
  expect((await infer()).error).toBeNull();
});

test('a model or a version there is not is not ready', async () => {
  for (const asked of [{ name: 'nope' }, { name: 'm', version: '7' }])
    expect((await call(GRPC_SERVICE.ModelReady, asked)).answer).toEqual({ ready: false });
});

test.each([
  [
    'contents of another type',
    { contents: { fp64_contents: [4, 2] } },
    {},
    'sent as fp32_contents, not as fp64_contents',
  ],
  [
    'contents of two types',
    { contents: { fp32_contents: [4, 2], int_contents: [1] } },
    {},
    'sent as fp32_contents, not as int_contents',
  ],
  ['contents and raw contents', {}, { raw_input_contents: [Buffer.alloc(8)] }, 'both typed and raw contents'],
  ['too few contents', { contents: { fp32_contents: [4] } }, {}, 'got 1 values, expected 2 for shape [1,2]'],
  ['no contents', { contents: null }, {}, 'got 0 values, expected 2 for shape [1,2]'],
  [
    'a timeout in words',
    {},
    { parameters: { timeout: { string_param: 'soon' } } },
    'the parameter "timeout" is the string_param "soon", expected an int64_param',
  ],
  ['a priority that is true', {}, { parameters: { priority: { bool_param: true } } }, 'the bool_param true'],
  [
    'an input in shared memory',
    { contents: null, parameters: { shared_memory_region: { string_param: 'r' } } },
    {},
    'input "features" asks for the shared memory extension',
  ],
  [
    'an output in shared memory',
    {},
    { outputs: [{ name: 'score', parameters: { shared_memory_region: { string_param: 'r' } } }] },
    "output 'score' asks for the shared memory extension",
  ],
])('%s: a refusal that names the rule', async (_name, input, more, rule) => {
  const { error } = await infer(input, more);
  expect(error).toMatchObject({ code: status.INVALID_ARGUMENT, details: expect.stringContaining(rule) });
});
