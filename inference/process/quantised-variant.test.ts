/** An int8 variant beside the model that it was made of: served as far as it stays close to that one's answers. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLogger } from '../../platform/logger.ts';
import { linearOnnx, quantisedLinearOnnx } from '../model/onnx-fixture.ts';
import type { ServingNode } from './serving-node.ts';
import { startStandaloneNode } from './standalone-node.ts';

const logger = createLogger({ service: 'inference', node: 'test', level: 'silent' });
const WEIGHTS = { weights: [0.9, -0.31, 0.077, 0.5003], bias: 0.25 };
const ROWS = Array.from({ length: 8 }, (_, row) => WEIGHTS.weights.map((_, i) => Math.sin(7 * row + i)));

let folder: string;
let node: ServingNode | null = null;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-int8-'));
  await writeFile(join(folder, 'float.onnx'), linearOnnx(WEIGHTS));
  await writeFile(join(folder, 'int8.onnx'), quantisedLinearOnnx(WEIGHTS));
});
afterEach(async () => {
  await node?.close();
  node = null;
  await rm(folder, { recursive: true });
});

async function start(): Promise<void> {
  const files = ['float', 'int8'].map((name) => ({ name, path: join(folder, `${name}.onnx`) }));
  node = await startStandaloneNode(files, { nodeId: 'test' }, logger);
}

const inputs = [
  { name: 'features', datatype: 'FP32', shape: [ROWS.length, WEIGHTS.weights.length], data: ROWS.flat() },
];

async function scoresOf(name: string): Promise<number[]> {
  const answer = await node!.app.inject({ method: 'POST', url: `/v2/models/${name}/infer`, payload: { inputs } });
  expect(answer.statusCode, answer.body).toBe(200);
  return answer.json<{ outputs: [{ data: number[] }] }>().outputs[0].data;
}

/** What the float model answers, as what its variant must say. */
async function askForAtMost(maxDifference: number): Promise<void> {
  await start();
  const outputs = [{ name: 'score', datatype: 'FP32', shape: [ROWS.length, 1], data: await scoresOf('float') }];
  await node!.close();
  node = null;
  await writeFile(join(folder, 'int8.onnx.golden.json'), JSON.stringify({ inputs, outputs, maxDifference }));
  await start();
}

test('within the difference it is served, and answers otherwise than the float model, by no more than that', async () => {
  await askForAtMost(0.02);
  const [float, int8] = [await scoresOf('float'), await scoresOf('int8')];
  const worst = Math.max(...int8.map((score, row) => Math.abs(score - float[row]!)));
  expect(worst).toBeGreaterThan(0.0005);
  expect(worst).toBeLessThan(0.02);
});

test('beyond it the server does not start, and says by which row', async () => {
  await expect(askForAtMost(0.0001)).rejects.toMatchObject({
    code: 'MODEL_FILE_INVALID',
    message: expect.stringMatching(/^int8: golden row \d: "score" is [-\d.]+, expected [-\d.]+/) as string,
  });
});

test('a variant that has moved away is not taken by a reload: what serves goes on', async () => {
  await askForAtMost(0.02);
  const before = await scoresOf('int8');
  await writeFile(join(folder, 'int8.onnx'), quantisedLinearOnnx({ ...WEIGHTS, bias: 0.35 }));
  const reload = await node!.app.inject({ method: 'POST', url: '/v2/repository/models/int8/load', payload: {} });
  expect([reload.statusCode, reload.body]).toEqual([400, expect.stringContaining('golden row 0')]);
  expect(await scoresOf('int8')).toEqual(before);
});
