import { mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkTrainerSpec, type TrainerSpecInput } from '../../domain/training/trainer-spec.ts';
import type { TreeEnsemble } from '../gbt/tree-ensemble.ts';
import { aMatrix, randomNumbers } from '../testing/a-matrix.ts';
import { scoreRows, startTraining } from '../training.ts';
import type { TrainedModel } from '../training-steps.ts';
import { INPUT_NAME, OUTPUT_NAME } from '../../domain/project/feature-schema.ts';
import { exportModel } from './export-model.ts';
import { inspectOnnx } from './inspect-onnx.ts';

// Both before the runtime is loaded: it would otherwise write a device id below the home folder.
process.env.ORT_DISABLE_TELEMETRY = '1';
const home = mkdtempSync(join(tmpdir(), 'serin-ort-'));
process.env.HOME = home;
const { InferenceSession, Tensor } = await import('onnxruntime-node');

/** Single precision in another order: 1e-6 of probability is what the trainers promise. */
const TOLERANCE = 1e-6;

function train(spec: TrainerSpecInput, rows = 3000): TrainedModel {
  const training = startTraining({ spec: checkTrainerSpec(spec, 'spec'), matrix: aMatrix({ rows }), seed: 1 });
  while (!training.done) training.advance();
  return training.model();
}

async function scoreByRuntime(model: TrainedModel, x: Float32Array): Promise<Float32Array> {
  const session = await InferenceSession.create(exportModel(model, '0.0.0'), {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
  });
  const width = model.columns.length;
  const outputs = await session.run({ [INPUT_NAME]: new Tensor('float32', x, [x.length / width, width]) });
  const output = outputs[OUTPUT_NAME]!;
  expect(output.dims).toEqual([x.length / width, 1]);
  await session.release();
  return output.data as Float32Array;
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((largest, value, row) => Math.max(largest, Math.abs(value - b[row]!)), 0);
}

/** Each value with the single-precision numbers next to it. */
function withNeighbours(values: Iterable<number>): number[] {
  const word = new Int32Array(1);
  const float = new Float32Array(word.buffer);
  return [...values].flatMap((value) => {
    float[0] = value;
    const bits = word[0]!;
    return [-1, 0, 1].map((step) => {
      word[0] = bits + step;
      return float[0]!;
    });
  });
}

/** Rows of ordinary, missing, infinite, huge and tiny values, and of a tree model's thresholds ± 1 ulp. */
function awkwardRows(model: TrainedModel, rows: number): Float32Array {
  const random = randomNumbers(99);
  const width = model.columns.length;
  const special = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 1e-40, 3.4e38, -3.4e38];
  const edges = model.columns.map((_, column) =>
    model.kind === 'gbt'
      ? withNeighbours(
          model.trees.flatMap(({ feature, threshold }) =>
            [...threshold].filter((_value, node) => feature[node] === column),
          ),
        ).concat(0)
      : withNeighbours([model.mean[column]!, model.mean[column]! + 10 * model.scale[column]!]),
  );
  return Float32Array.from({ length: rows * width }, (_, at) => {
    const choice = random();
    const columnEdges = edges[at % width]!;
    if (choice < 0.2) return special[Math.floor(random() * special.length)]!;
    if (choice < 0.6) return columnEdges[Math.floor(random() * columnEdges.length)]!;
    return random() * 120 - 10;
  });
}

test.each<[string, TrainerSpecInput]>([
  ['logistic', { kind: 'logistic' }],
  ['100 trees', { kind: 'gbt', trees: 100, minRowsPerLeaf: 5 }],
  ['trees of coarse bins', { kind: 'gbt', trees: 20, maxBins: 4 }],
  ['a tree without a split', { kind: 'gbt', trees: 3, minRowsPerLeaf: 1_000_000 }],
])('the exported %s scores as the model does, also on awkward values', async (_, spec) => {
  const model = train(spec);
  for (const x of [aMatrix({ rows: 10_000, seed: 2 }).x, awkwardRows(model, 12_000)])
    expect(largestDifference(await scoreByRuntime(model, x), scoreRows(model, x))).toBeLessThanOrEqual(TOLERANCE);
});

test('a split between present and missing, and infinite training values, survive the export', async () => {
  const matrix = aMatrix({ missing: 0 });
  for (let row = 0; row < matrix.rows; row++) {
    const at = row * matrix.columns.length + 1;
    matrix.x[at] = row % 3 === 0 ? Number.NaN : row % 3 === 1 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
    matrix.y[row] = row % 3 === 0 ? 1 : row % 30 === 1 ? 1 : 0;
  }
  for (const kind of ['gbt', 'logistic'] as const) {
    const training = startTraining({
      spec: checkTrainerSpec({ kind, ...(kind === 'gbt' && { trees: 10 }) }, 'spec'),
      matrix,
      seed: 1,
    });
    while (!training.done) training.advance();
    const model = training.model();
    expect(largestDifference(await scoreByRuntime(model, matrix.x), scoreRows(model, matrix.x))).toBeLessThanOrEqual(
      TOLERANCE,
    );
    if (model.kind === 'gbt') expect(infiniteThresholds(model)).toBeGreaterThan(0);
  }
});

function infiniteThresholds({ trees }: TreeEnsemble): number {
  return trees.flatMap(({ threshold }) => [...threshold]).filter((value) => value === Number.POSITIVE_INFINITY).length;
}

test('the file says what it takes and gives, and is the same for the same model', () => {
  const model = train({ kind: 'gbt', trees: 2 }, 500);
  const bytes = exportModel(model, '1.2.3');
  expect(exportModel(model, '1.2.3')).toEqual(bytes);
  expect(inspectOnnx(bytes)).toEqual({
    inputs: [{ name: 'features', type: 'float32', shape: ['N', 5] }],
    outputs: [{ name: 'score', type: 'float32', shape: ['N', 1] }],
    opsets: { 'ai.onnx': 15, 'ai.onnx.ml': 3 },
    metadata: { 'serin.kind': 'gbt', 'serin.columns': '["linear","stepped","weekday","noise","constant"]' },
    producer: 'serin',
  });
});

test('the runtime leaves nothing below the home folder', async () => {
  await scoreByRuntime(train({ kind: 'logistic' }, 500), aMatrix({ rows: 10 }).x);
  expect(readdirSync(home)).toEqual([]);
});
