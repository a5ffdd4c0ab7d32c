import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createLogger } from '../../platform/logger.ts';
import { linearOnnx } from '../model/onnx-fixture.ts';
import type { ServingNode } from './serving-node.ts';
import { startStandaloneNode } from './standalone-node.ts';

const logger = createLogger({ service: 'inference', node: 'test', level: 'silent' });
let folder: string;
let node: ServingNode;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-standalone-'));
  const path = join(folder, 'm.onnx');
  await writeFile(path, linearOnnx({ weights: [1, 0.5], bias: 0.25 }));
  node = await startStandaloneNode([{ name: 'm', path }], { nodeId: 'test' }, logger);
});
afterAll(async () => {
  await node.close();
  await rm(folder, { recursive: true });
});

const infer = (payload: string, url = '/v2/models/m/infer') => node.app.inject({ method: 'POST', url, payload });
const tensor = (input: object): string =>
  JSON.stringify({ inputs: [{ name: 'features', datatype: 'FP32', ...input }] });

test('the server describes itself and its models', async () => {
  expect((await node.app.inject('/v2')).json()).toMatchObject({
    name: 'serin',
    extensions: ['binary_tensor_data', 'statistics', 'model_configuration', 'model_repository', 'schedule_policy'],
  });
  expect((await node.app.inject('/v2/health/live')).json()).toEqual({ live: true });
  expect((await node.app.inject('/v2/health/ready')).statusCode).toBe(200);
  expect((await node.app.inject('/v2/models/m')).json()).toEqual({
    name: 'm',
    versions: ['1'],
    platform: 'onnx_onnxv1',
    inputs: [{ name: 'features', datatype: 'FP32', shape: [-1, 2] }],
    outputs: [{ name: 'score', datatype: 'FP32', shape: [-1, 1] }],
  });
  expect((await node.app.inject('/v2/models/m/versions/1/ready')).json()).toEqual({ name: 'm', ready: true });
});

test.each([
  ['flat', { shape: [2, 2], data: [1, 2, 3, 4] }],
  [
    'nested',
    {
      shape: [2, 2],
      data: [
        [1, 2],
        [3, 4],
      ],
    },
  ],
])('data may be %s; without a content type it is JSON all the same', async (_, input) => {
  const response = await infer(JSON.stringify({ ...JSON.parse(tensor(input)), id: 'r"1' }));
  expect(response.json()).toEqual({
    model_name: 'm',
    model_version: '1',
    id: 'r"1',
    outputs: [{ name: 'score', shape: [2, 1], datatype: 'FP32', data: [2.25, 5.25] }],
  });
});

test('a missing value travels as null, where the request says so', async () => {
  const response = await infer(tensor({ shape: [2, 2], data: [1, null, 1, 1], parameters: { null_is_nan: true } }));
  expect(response.json()).toMatchObject({ outputs: [{ data: [null, 1.75] }] });
});

test('many requests at once get their own answers', async () => {
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) => infer(tensor({ shape: [1, 2], data: [i, 0] }))),
  );
  expect(answers.map((answer) => answer.json<{ outputs: [{ data: number[] }] }>().outputs[0].data[0])).toEqual(
    Array.from({ length: 200 }, (_, i) => i + 0.25),
  );
});

test.each([
  ['no JSON', '{"inputs":', 'the body is no JSON'],
  ['no object', '[]', 'the request must be a JSON object'],
  ['no inputs', '{}', '"inputs" must be a list'],
  ['two inputs', '{"inputs":[{},{}]}', 'expected 1 inputs but got 2'],
  [
    'another input',
    JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 2], data: [1, 2] }] }),
    'unexpected inference input "x" for model \'m\'',
  ],
  [
    'another width',
    tensor({ shape: [1, 3], data: [1, 2, 3] }),
    "unexpected shape for input 'features' for model 'm': expected [-1,2], got [1,3]",
  ],
  ['a flat shape', tensor({ shape: [2], data: [1, 2] }), 'unexpected shape'],
  ['no rows', tensor({ shape: [0, 2], data: [] }), 'has no rows'],
  ['too little data', tensor({ shape: [2, 2], data: [1, 2, 3] }), 'got 3 values, expected 4'],
  [
    'ragged data',
    tensor({ shape: [2, 2], data: [[1, 2, 3], [4]] }),
    'has a list of 3 in dimension 1, its shape [2,2] says 2',
  ],
  ['text as number', tensor({ shape: [1, 2], data: ['1', 2] }), 'holds "1" at 0, expected a number'],
  ['null as number', tensor({ shape: [1, 2], data: [null, 2] }), 'holds null at 0, expected a number'],
  ['a datatype there is not', tensor({ shape: [1, 2], datatype: 'FP31', data: [1, 2] }), 'has datatype "FP31"'],
  [
    'another datatype',
    tensor({ shape: [1, 2], datatype: 'INT64', data: [1, 2] }),
    "data-type is 'INT64', but model 'm' expects 'FP32'",
  ],
  [
    'another output',
    JSON.stringify({ ...JSON.parse(tensor({ shape: [1, 2], data: [1, 2] })), outputs: [{ name: 'y' }] }),
    'unexpected inference output "y"',
  ],
])('%s is a 400 that names the rule', async (_, payload, rule) => {
  const response = await infer(payload);
  expect(response.statusCode).toBe(400);
  expect(response.json<{ error: string }>().error).toContain(rule);
});

test('unknown models and versions are 404', async () => {
  for (const url of ['/v2/models/x/infer', '/v2/models/m/versions/2/infer'])
    expect((await infer('{}', url)).statusCode).toBe(404);
  expect((await node.app.inject('/v2/models/x/ready')).json()).toEqual({ error: "unknown model 'x'" });
});
