import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync, gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLogger } from '../../platform/logger.ts';
import { identityOnnx, linearOnnx } from '../model/onnx-fixture.ts';
import type { ServingNode } from '../process/serving-node.ts';
import { startStandaloneNode } from '../process/standalone-node.ts';

const logger = createLogger({ service: 'inference', node: 'test', level: 'silent' });
/** onnx.proto's element types, in the order of the identity model's inputs. */
const TYPES = [
  ['FP32', 1],
  ['UINT8', 2],
  ['INT8', 3],
  ['INT32', 6],
  ['INT64', 7],
  ['BYTES', 8],
  ['BOOL', 9],
  ['FP64', 11],
] as const;
let folder: string;
let node: ServingNode;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-oip-'));
  const files = {
    linear: linearOnnx({ weights: [1, 0.5], bias: 0.25 }),
    all: identityOnnx({ elementTypes: TYPES.map(([, type]) => type), width: 2 }),
    long: identityOnnx({ elementTypes: [7], width: 1 }),
  };
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
  const models = Object.keys(files).map((name) => ({ name, path: join(folder, name) }));
  node = await startStandaloneNode(models, { nodeId: 'test' }, logger, 'secret');
});
afterAll(async () => {
  await node.close();
  await rm(folder, { recursive: true });
});

const post = (url: string, payload: string | Buffer, headers: Record<string, string> = {}) =>
  node.app.inject({ method: 'POST', url, payload, headers });

/** JSON with binary data behind it, as the binary tensor data extension lays it out. */
function withBinary(head: object, ...data: Buffer[]): { payload: Buffer; headers: Record<string, string> } {
  const json = Buffer.from(JSON.stringify(head));
  return {
    payload: Buffer.concat([json, ...data]),
    headers: { 'inference-header-content-length': String(json.length), 'content-type': 'application/octet-stream' },
  };
}

const floats = (...values: number[]): Buffer => Buffer.from(Float32Array.from(values).buffer);
const ALL_DATA: Readonly<Record<string, unknown[]>> = {
  FP32: [1.5, -2],
  UINT8: [0, 255],
  INT8: [-128, 127],
  INT32: [-2147483648, 2147483647],
  INT64: ['9007199254740993', -1],
  BYTES: ['', 'naïve ☃'],
  BOOL: [true, false],
  FP64: [1e300, 0.1],
};

test('every datatype comes back as it went in, with an inner value that JSON numbers do not hold as text', async () => {
  const inputs = TYPES.map(([datatype], i) => ({ name: `in${i}`, datatype, shape: [1, 2], data: ALL_DATA[datatype] }));
  const response = await post('/v2/models/all/infer', JSON.stringify({ id: '7', inputs }));
  expect(response.json()).toEqual({
    model_name: 'all',
    model_version: '1',
    id: '7',
    outputs: TYPES.map(([datatype], i) => ({ name: `out${i}`, datatype, shape: [1, 2], data: ALL_DATA[datatype] })),
  });
});

test('the model says what it takes and gives', async () => {
  const tensors = (side: string) => TYPES.map(([datatype], i) => ({ name: `${side}${i}`, datatype, shape: [-1, 2] }));
  expect((await node.app.inject('/v2/models/all')).json()).toMatchObject({
    inputs: tensors('in'),
    outputs: tensors('out'),
  });
  expect((await node.app.inject('/v2/models/linear/config')).json()).toMatchObject({
    name: 'linear',
    platform: 'onnxruntime_onnx',
    max_batch_size: 512,
    input: [{ name: 'features', data_type: 'TYPE_FP32', dims: [2] }],
    output: [{ name: 'score', data_type: 'TYPE_FP32', dims: [1] }],
  });
});

describe('binary tensor data', () => {
  const input = (size: number) => ({
    name: 'features',
    datatype: 'FP32',
    shape: [2, 2],
    parameters: { binary_data_size: size },
  });

  test('goes in and comes out behind the JSON', async () => {
    const { payload, headers } = withBinary(
      { inputs: [input(16)], outputs: [{ name: 'score', parameters: { binary_data: true } }] },
      floats(1, 2, 3, 4),
    );
    const response = await post('/v2/models/linear/infer', payload, headers);
    const head = Number(response.headers['inference-header-content-length']);
    expect(JSON.parse(response.rawPayload.subarray(0, head).toString())).toEqual({
      model_name: 'linear',
      model_version: '1',
      outputs: [{ name: 'score', datatype: 'FP32', shape: [2, 1], parameters: { binary_data_size: 8 } }],
    });
    expect(response.rawPayload.subarray(head)).toEqual(floats(2.25, 5.25));
  });

  test('carries a missing value as NaN', async () => {
    const { payload, headers } = withBinary({ inputs: [input(16)] }, floats(NaN, 2, 3, 4));
    expect((await post('/v2/models/linear/infer', payload, headers)).json()).toMatchObject({
      outputs: [{ data: [null, 5.25] }],
    });
  });

  test('of text has a length before each element', async () => {
    const text = (value: string) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(Buffer.byteLength(value));
      return Buffer.concat([length, Buffer.from(value)]);
    };
    const bytes = Buffer.concat([text('a'), text('☃')]);
    const inputs = TYPES.map(([datatype], i) =>
      datatype === 'BYTES'
        ? { name: `in${i}`, datatype, shape: [1, 2], parameters: { binary_data_size: bytes.length } }
        : { name: `in${i}`, datatype, shape: [1, 2], data: ALL_DATA[datatype] },
    );
    const asked = withBinary({ inputs, outputs: [{ name: 'out5', parameters: { binary_data: true } }] }, bytes);
    const response = await post('/v2/models/all/infer', asked.payload, asked.headers);
    const head = Number(response.headers['inference-header-content-length']);
    expect(response.rawPayload.subarray(head)).toEqual(bytes);
  });

  test('without any JSON is the only input, and the answer is binary', async () => {
    const response = await post('/v2/models/linear/infer', floats(1, 2, 3, 4), {
      'inference-header-content-length': '0',
    });
    const head = Number(response.headers['inference-header-content-length']);
    expect(response.rawPayload.subarray(head)).toEqual(floats(2.25, 5.25));
  });

  test.each([
    ['too few bytes', withBinary({ inputs: [input(16)] }, floats(1, 2)), 'only 8 bytes of binary data are left'],
    [
      'a size that is not the shape’s',
      withBinary({ inputs: [input(8)] }, floats(1, 2)),
      'has 8 bytes of binary data, expected 16',
    ],
    [
      'bytes that belong to nobody',
      withBinary({ inputs: [input(16)] }, floats(1, 2, 3, 4, 5)),
      '4 bytes of binary data belong to no input',
    ],
    [
      'a header longer than the body',
      { payload: Buffer.from('{}'), headers: { 'inference-header-content-length': '9' } },
      'Inference-Header-Content-Length is 9, but the body has 2 bytes',
    ],
    [
      'no number of bytes',
      { payload: Buffer.from('{}'), headers: { 'inference-header-content-length': 'x' } },
      'Inference-Header-Content-Length is "x"',
    ],
  ])('%s is a 400 that says so', async (_, { payload, headers }, rule) => {
    const response = await post('/v2/models/linear/infer', payload, headers);
    expect([response.statusCode, response.json<{ error: string }>().error]).toEqual([
      400,
      expect.stringContaining(rule),
    ]);
  });
});

test.each([
  ['beyond the type', 'INT64', ['9223372036854775808'], 'within -9223372036854775808 and'],
  ['not exact as a JSON number', 'INT64', [9007199254740992], 'beyond 2^53 send it as text'],
  ['no number at all', 'INT64', ['1e3'], 'expected an integer'],
])('an integer %s is refused', async (_, datatype, data, rule) => {
  const inputs = [{ name: 'in0', datatype, shape: [1, 1], data }];
  const response = await post('/v2/models/long/infer', JSON.stringify({ inputs }));
  expect([response.statusCode, response.json<{ error: string }>().error]).toEqual([400, expect.stringContaining(rule)]);
});

test('bodies may be compressed, and long answers are when the client takes it', async () => {
  const rows = 500;
  const inputs = [{ name: 'features', datatype: 'FP32', shape: [rows, 2], data: new Array(rows * 2).fill(1) }];
  const json = JSON.stringify({ inputs });
  for (const [encoding, payload] of [
    ['gzip', gzipSync(json)],
    ['deflate', deflateSync(json)],
  ] as const) {
    const response = await post('/v2/models/linear/infer', payload, {
      'content-encoding': encoding,
      'accept-encoding': 'gzip',
    });
    expect(response.headers['content-encoding']).toBe('gzip');
    const answer = JSON.parse(gunzipSync(response.rawPayload).toString()) as { outputs: [{ data: number[] }] };
    expect(answer.outputs[0].data).toEqual(new Array(rows).fill(1.75));
  }
  const broken = await post('/v2/models/linear/infer', Buffer.from('nothing'), { 'content-encoding': 'gzip' });
  expect(broken.statusCode).toBe(400);
  expect((await post('/v2/models/linear/infer', json, { 'content-encoding': 'br' })).statusCode).toBe(400);
});

test('statistics count rows, runs and failures', async () => {
  const statsOf = async () =>
    (await node.app.inject('/v2/models/long/versions/1/stats')).json<{
      model_stats: [
        {
          inference_count: number;
          execution_count: number;
          inference_stats: { success: { count: number }; queue: { count: number } };
          batch_stats: { batch_size: number; compute_infer: { count: number } }[];
        },
      ];
    }>().model_stats[0];
  const before = await statsOf();
  const inputs = [{ name: 'in0', datatype: 'INT64', shape: [3, 1], data: [1, 2, 3] }];
  await post('/v2/models/long/infer', JSON.stringify({ inputs }));
  const after = await statsOf();
  expect(after.inference_count - before.inference_count).toBe(3);
  expect(after.execution_count - before.execution_count).toBe(1);
  expect(after.inference_stats.success.count - before.inference_stats.success.count).toBe(1);
  expect(after.batch_stats.find(({ batch_size }) => batch_size === 3)?.compute_infer.count).toBe(1);
  const all = (await node.app.inject('/v2/models/stats')).json<{ model_stats: { name: string }[] }>();
  expect(all.model_stats.map(({ name }) => name)).toEqual(['linear', 'all', 'long']);
});

test('a model is unloaded and loaded again by an operator alone, and what failed to load leaves what serves', async () => {
  const manage = (action: string, model = 'long', token = 'secret') =>
    post(`/v2/repository/models/${model}/${action}`, '', { authorization: `Bearer ${token}` });
  const states = async () =>
    (await post('/v2/repository/index', '')).json<{ name: string; state: string }[]>().map(({ state }) => state);
  expect((await post('/v2/repository/models/long/unload', '')).statusCode).toBe(401);
  expect((await manage('unload', 'long', 'wrong!')).statusCode).toBe(403);
  const lowerCase = { authorization: 'bearer secret' };
  expect((await post('/v2/repository/models/long/unload', '', lowerCase)).statusCode).toBe(200);
  expect((await manage('unload')).statusCode).toBe(200);
  expect(await states()).toEqual(['READY', 'READY', 'UNAVAILABLE']);
  expect((await node.app.inject('/v2/models/long/ready')).statusCode).toBe(503);
  expect((await post('/v2/repository/index', '{"ready":true}')).json()).toHaveLength(2);
  expect((await manage('load')).statusCode).toBe(200);
  expect(await states()).toEqual(['READY', 'READY', 'READY']);
  await writeFile(join(folder, 'long'), 'no model');
  const refused = await manage('load');
  expect([refused.statusCode, refused.json<{ error: string }>().error]).toEqual([
    400,
    expect.stringContaining('does not load'),
  ]);
  expect((await node.app.inject('/v2/models/long/ready')).statusCode).toBe(200);
  expect((await manage('load', 'other')).statusCode).toBe(404);
});

test('what nothing answers is a 404 in the form of the protocol', async () => {
  const response = await node.app.inject('/v2/models/linear/nothing');
  expect([response.statusCode, response.json()]).toEqual([
    404,
    { error: 'nothing answers GET /v2/models/linear/nothing' },
  ]);
});

describe('what a client makes large, deep or strange', () => {
  test.each([
    ['datatype', 400],
    ['name', 400],
    ['shape', 400],
    ['data', 400],
    ['parameters', 400],
    ['something', 200],
  ])('a deep list as %s of an input is answered by %i, shortly', async (member, status) => {
    const members: Record<string, string> = {
      name: '"features"',
      datatype: '"FP32"',
      shape: '[1,2]',
      data: '[1,2]',
      [member]: '['.repeat(100_000) + ']'.repeat(100_000),
    };
    const input = Object.entries(members).map(([name, json]) => `"${name}":${json}`);
    const response = await post('/v2/models/linear/infer', `{"inputs":[{${input.join(',')}}]}`);
    expect([response.statusCode, response.body.length < 500]).toEqual([status, true]);
  });

  test('a shape takes no memory that the data does not fill', async () => {
    const before = process.memoryUsage();
    for (const data of [[], [[1, 2]], Array.from({ length: 4_096 }, () => [])]) {
      const response = await post(
        '/v2/models/all/infer',
        JSON.stringify({
          inputs: TYPES.map(([datatype], i) => ({ name: `in${i}`, datatype, shape: [1 << 25, 2], data })),
        }),
      );
      expect(response.statusCode).toBe(400);
    }
    const after = process.memoryUsage();
    expect(after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed).toBeLessThan(100 << 20);
  });

  test.each([
    ['1e400', 'holds Infinity at 0, expected a number that FP32 holds'],
    ['-1e39', 'holds -1e+39 at 0, expected a number that FP32 holds'],
  ])('%s is no number of an FP32 tensor', async (number, rule) => {
    const body = `{"inputs":[{"name":"features","datatype":"FP32","shape":[1,2],"data":[${number},1]}]}`;
    const response = await post('/v2/models/linear/infer', body);
    expect([response.statusCode, response.json<{ error: string }>().error]).toEqual([
      400,
      expect.stringContaining(rule),
    ]);
  });
});

test('infinities and NaN go in as binary data, and the sign of zero stays', async () => {
  const fp64 = identityOnnx({ elementTypes: [11], width: 4 });
  await writeFile(join(folder, 'long'), fp64);
  const manage = (action: string) =>
    post(`/v2/repository/models/long/${action}`, '', { authorization: 'Bearer secret' });
  expect((await manage('load')).statusCode).toBe(200);
  const data = Buffer.from(Float64Array.of(Infinity, -Infinity, NaN, -0).buffer);
  const input = { name: 'in0', datatype: 'FP64', shape: [1, 4], parameters: { binary_data_size: 32 } };
  const { payload, headers } = withBinary({ inputs: [input] }, data);
  expect((await post('/v2/models/long/infer', payload, headers)).body).toContain('"data":[null,null,null,-0.0]');
  const binary = withBinary({ inputs: [input], parameters: { binary_data_output: true } }, data);
  const response = await post('/v2/models/long/infer', binary.payload, binary.headers);
  expect(response.rawPayload.subarray(-32)).toEqual(data);
});

test('a text is the same text behind the model, or refused', async () => {
  await writeFile(join(folder, 'long'), identityOnnx({ elementTypes: [8], width: 1 }));
  expect((await post('/v2/repository/models/long/load', '', { authorization: 'Bearer secret' })).statusCode).toBe(200);
  const infer = (text: string) =>
    post(
      '/v2/models/long/infer',
      `{"inputs":[{"name":"in0","datatype":"BYTES","shape":[1,1],"data":[${JSON.stringify(text)}]}]}`,
    );
  expect((await infer('\ufeff☃')).json()).toMatchObject({ outputs: [{ data: ['\ufeff☃'] }] });
  expect((await infer('a\0b')).json<{ error: string }>().error).toContain('holds a NUL at 0');
  expect((await infer('\ud800')).json<{ error: string }>().error).toContain('no well-formed Unicode at 0');
  const raw = await post('/v2/models/long/infer', 'raw text', { 'inference-header-content-length': '0' });
  expect(raw.rawPayload.subarray(-12).toString()).toBe('\b\0\0\0raw text');
  const wrong = await post('/v2/models/long/infer', Buffer.from([0xc3, 0x28]), {
    'inference-header-content-length': '0',
  });
  expect(wrong.json<{ error: string }>().error).toContain('no UTF-8');
});

test.each([
  ['gzip', 'gzip'],
  ['GZIP;q=0.5, br', 'gzip'],
  ['gzip;q=0, deflate', 'deflate'],
  ['gzip;q=0', undefined],
  ['br', undefined],
])('an answer to a client that accepts %s is encoded as %s', async (accepted, encoding) => {
  const inputs = [{ name: 'features', datatype: 'FP32', shape: [500, 2], data: new Array(1_000).fill(0.1) }];
  const response = await post('/v2/models/linear/infer', JSON.stringify({ inputs }), { 'accept-encoding': accepted });
  expect(response.headers['content-encoding']).toBe(encoding);
});
