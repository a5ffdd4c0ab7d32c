import { expect, test } from 'vitest';
import { rocAuc } from '../domain/statistics/classification.ts';
import { checkTrainerSpec, type TrainerSpecInput } from '../domain/training/trainer-spec.ts';
import type { TrainingMatrix } from './matrix.ts';
import { exportModel } from './onnx/export-model.ts';
import { aMatrix } from './testing/a-matrix.ts';
import { columnImportance, scoreRows, startTraining, type Training } from './training.ts';
import type { TrainedModel } from './training-steps.ts';

function start(input: TrainerSpecInput, matrix: TrainingMatrix, checkpoint?: Uint8Array): Training {
  return startTraining({ spec: checkTrainerSpec(input, 'spec'), matrix, seed: 7 }, checkpoint);
}

function finish(training: Training): TrainedModel {
  while (!training.done) training.advance();
  return training.model();
}

const bytesOf = (model: TrainedModel): Uint8Array => exportModel(model, '0');

const SPECS: [string, TrainerSpecInput][] = [
  ['logistic', { kind: 'logistic' }],
  ['gbt', { kind: 'gbt', trees: 12, leaves: 8 }],
  ['gbt with early stopping', { kind: 'gbt', trees: 60, leaves: 8, learningRate: 0.8, earlyStoppingTrees: 3 }],
];

test.each(SPECS)('%s: the same request gives the same bytes', (_, spec) => {
  expect(bytesOf(finish(start(spec, aMatrix())))).toEqual(bytesOf(finish(start(spec, aMatrix()))));
});

test.each(SPECS)(
  '%s: interrupted after any step and resumed, a training gives the same bytes and metrics',
  (_, spec) => {
    const matrix = aMatrix({ rows: 1500 });
    const whole = start(spec, matrix);
    const expected = bytesOf(finish(whole));
    let training = start(spec, matrix);
    while (!training.done) {
      training.advance();
      training = start(spec, matrix, training.serialize());
    }
    expect(bytesOf(training.model())).toEqual(expected);
    expect(training.metrics).toEqual(whole.metrics);
  },
);

test.each(SPECS)('%s: learns what there is to learn', (_, spec) => {
  const test = aMatrix({ seed: 2 });
  const auc = rocAuc(test.y, scoreRows(finish(start(spec, aMatrix())), test.x));
  expect(auc).toBeGreaterThan(spec.kind === 'gbt' ? 0.78 : 0.7);
});

test.each(SPECS)('%s: the training loss never rises', (_, spec) => {
  const training = start(
    { ...spec, ...(spec.kind === 'gbt' && { earlyStoppingTrees: 0, learningRate: 0.3 }) } as TrainerSpecInput,
    aMatrix(),
  );
  finish(training);
  const losses = training.metrics.map(({ trainLogLoss }) => trainLogLoss);
  for (const [index, loss] of losses.entries())
    expect(loss).toBeLessThanOrEqual((losses[index - 1] ?? Math.LN2 * 2) + 1e-12);
});

test('the reported losses are those of the exported model', () => {
  const matrix = aMatrix({ rows: 2000 });
  for (const [, spec] of SPECS.slice(0, 2)) {
    const training = start({ ...spec, validationFraction: 0.25 }, matrix);
    const scores = scoreRows(finish(training), matrix.x);
    const meanLoss = (from: number, to: number): number => {
      let sum = 0;
      for (let row = from; row < to; row++) sum -= Math.log(matrix.y[row] === 1 ? scores[row]! : 1 - scores[row]!);
      return sum / (to - from);
    };
    const last = training.metrics.at(-1)!;
    expect(last.trainLogLoss).toBeCloseTo(meanLoss(0, 1500), 5);
    expect(last.validationLogLoss).toBeCloseTo(meanLoss(1500, 2000), 5);
  }
});

test('early stopping keeps the trees up to the lowest validation loss', () => {
  const training = start({ kind: 'gbt', trees: 200, leaves: 31, learningRate: 0.8, earlyStoppingTrees: 4 }, aMatrix());
  const model = finish(training);
  const losses = training.metrics.map(({ validationLogLoss }) => validationLogLoss!);
  const best = losses.indexOf(Math.min(...losses)) + 1;
  expect(model.kind === 'gbt' && model.trees.length).toBe(best);
  expect(losses.length).toBe(best + 4);
});

test('limits hold in every leaf', () => {
  const matrix = aMatrix({ rows: 1000 });
  const model = finish(start({ kind: 'gbt', trees: 5, leaves: 12, minRowsPerLeaf: 40, validationFraction: 0 }, matrix));
  if (model.kind !== 'gbt') throw new Error('not trees');
  for (const { feature, threshold, missingLeft, left, right } of model.trees) {
    const rows = new Map<number, number>();
    for (let row = 0; row < matrix.rows; row++) {
      let node = 0;
      while (feature[node]! >= 0) {
        const value = matrix.x[row * matrix.columns.length + feature[node]!]!;
        node =
          value <= threshold[node]! || (Number.isNaN(value) && missingLeft[node] === 1) ? left[node]! : right[node]!;
      }
      rows.set(node, (rows.get(node) ?? 0) + 1);
    }
    expect(rows.size).toBeLessThanOrEqual(12);
    expect(Math.min(...rows.values())).toBeGreaterThanOrEqual(40);
  }
});

test('importance tells what matters from what does not', () => {
  for (const [, spec] of SPECS) {
    const importance = new Map(
      columnImportance(finish(start(spec, aMatrix()))).map((entry) => [entry.column, entry.importance]),
    );
    expect(importance.get('linear')).toBeGreaterThan(importance.get('noise')!);
    expect(importance.get('constant')).toBe(0);
  }
});

test('the order of rows does not change the trees', () => {
  const matrix = aMatrix({ rows: 999 });
  const width = matrix.columns.length;
  const reversed: TrainingMatrix = {
    ...matrix,
    x: matrix.x.map((_, at) => matrix.x[(matrix.rows - 1 - Math.floor(at / width)) * width + (at % width)]!),
    y: matrix.y.toReversed(),
    asOf: matrix.asOf.toReversed(),
  };
  const spec = { kind: 'gbt', trees: 10, leaves: 8 } as const;
  expect(bytesOf(finish(start(spec, reversed)))).toEqual(bytesOf(finish(start(spec, matrix))));
});

test.each([['rows of one class', (matrix: TrainingMatrix) => matrix.y.fill(0), /all 2700 rows to fit have label 0/]])(
  '%s are refused',
  (_, spoil, reason) => {
    const matrix = aMatrix();
    spoil(matrix);
    expect(() => start({ kind: 'logistic' }, matrix)).toThrow(reason);
  },
);

test('a checkpoint of other data, another spec or of nothing is refused', () => {
  const training = start({ kind: 'gbt', trees: 3 }, aMatrix({ rows: 300 }));
  training.advance();
  const checkpoint = training.serialize();
  expect(() => start({ kind: 'gbt', trees: 3 }, aMatrix({ rows: 300, seed: 5 }), checkpoint)).toThrow(
    /another spec, seed or dataset/,
  );
  expect(() => start({ kind: 'gbt', trees: 4 }, aMatrix({ rows: 300 }), checkpoint)).toThrow(
    /another spec, seed or dataset/,
  );
  expect(() => start({ kind: 'gbt', trees: 3 }, aMatrix({ rows: 300 }), checkpoint.subarray(0, 100))).toThrow(
    /cannot be read/,
  );
  expect(() => start({ kind: 'gbt', trees: 3 }, aMatrix({ rows: 300 }), new TextEncoder().encode('{}'))).toThrow(
    /has the format undefined/,
  );
});
