/** The law of batching where it could break: in the kernels that compute a batch, of every runner there is. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ModelLoader } from './model-loader.ts';
import type { Runner } from './model-report.ts';
import { denseOnnx, linearOnnx, stumpsOnnx } from './onnx-fixture.ts';
import { loadOnnxScorer } from './onnx-scorer.ts';
import { trainedSignature } from './signature.ts';

const WIDTH = 13;
/** More than the widest vector of a processor, and no multiple of it. */
const ROWS = 67;

let folder: string;
const loader = new ModelLoader();
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-batched-'));
});
afterAll(async () => {
  await loader.close();
  await rm(folder, { recursive: true });
});

const stumps = Array.from(
  { length: 300 },
  (_, i) => [i % WIDTH, 2 * Math.sin(i), Math.cos(i) / 3, -Math.cos(2 * i) / 3, i % 2 === 0] as const,
);

test.each<[string, Uint8Array, readonly Runner[]]>([
  [
    'a linear model',
    linearOnnx({ weights: Array.from({ length: WIDTH }, (_, i) => Math.sin(i + 1)), bias: 0.1 }),
    ['inline', 'thread'],
  ],
  ['layers', denseOnnx({ width: WIDTH, hidden: 70, layers: 2 }), ['inline', 'thread']],
  ['wide layers', denseOnnx({ width: WIDTH, hidden: 1_500, layers: 3 }), ['thread']],
  ['trees', stumpsOnnx({ stumps, width: WIDTH }), ['trees', 'inline']],
])('each row of %s has the very bits that it has alone, however many are beside it', async (name, bytes, runners) => {
  const path = join(folder, `${name}.onnx`);
  await writeFile(path, bytes);
  const scorer = await loadOnnxScorer(loader, { path, name, expected: trainedSignature(WIDTH) });
  expect(runners).toContain(scorer.report!.runner);
  const features = Float64Array.from({ length: ROWS * WIDTH }, (_, i) => 3 * Math.sin(i * 12.9898));
  const scoresBy = async (rows: number): Promise<number[]> => {
    const scores: number[] = [];
    for (let from = 0; from < ROWS; from += rows) {
      const part = features.slice(from * WIDTH, (from + rows) * WIDTH);
      scores.push(...(await scorer.score(part, part.length / WIDTH)));
    }
    return scores;
  };
  const alone = await scoresBy(1);
  expect(new Set(alone).size).toBeGreaterThan(ROWS / 2);
  for (const rows of [2, 3, 4, 7, 8, 16, 33, ROWS]) expect(await scoresBy(rows)).toEqual(alone);
  await scorer.release();
});
