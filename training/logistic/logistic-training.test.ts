import { expect, test } from 'vitest';
import { checkTrainerSpec, type TrainerSpecInput } from '../../domain/training/trainer-spec.ts';
import type { TrainingMatrix } from '../matrix.ts';
import { aMatrix } from '../testing/a-matrix.ts';
import { startTraining } from '../training.ts';
import { type LogisticModel, scoreLogistic, standardised } from './logistic-model.ts';

function fit(matrix: TrainingMatrix, input: Partial<TrainerSpecInput> = {}): LogisticModel {
  const spec = checkTrainerSpec({ kind: 'logistic', validationFraction: 0, ...input }, 'spec');
  const training = startTraining({ spec, matrix, seed: 1 });
  while (!training.done) training.advance();
  const model = training.model();
  if (model.kind !== 'logistic') throw new Error('not a logistic model');
  return model;
}

function columnOf(values: readonly number[], labels: readonly number[]): TrainingMatrix {
  return {
    rows: values.length,
    columns: ['x'],
    x: Float32Array.from(values),
    y: Uint8Array.from(labels),
    rowIds: Float64Array.from(values, (_, row) => row),
    asOf: Float64Array.from(values, (_, row) => row),
  };
}

test('at the fit the gradient of the penalised loss is zero', () => {
  const matrix = aMatrix();
  const l2 = 3;
  const model = fit(matrix, { l2 });
  const width = matrix.columns.length;
  const scores = scoreLogistic(model, matrix.x);
  for (let column = 0; column <= width; column++) {
    let gradient = column < width ? l2 * model.weight[column]! : 0;
    for (let row = 0; row < matrix.rows; row++) {
      const z =
        column < width ? standardised(matrix.x[row * width + column]!, model.mean[column]!, model.scale[column]!) : 1;
      gradient += (scores[row]! - matrix.y[row]!) * z;
    }
    // Single-precision scores of 3,000 rows leave about this much.
    expect(Math.abs(gradient)).toBeLessThan(2e-3);
  }
});

test('two groups without penalty to speak of fit their own rates', () => {
  const model = fit(columnOf([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 0, 1, 1, 1]), { l2: 1e-9 });
  const [low, high] = scoreLogistic(model, Float32Array.of(0, 1));
  expect(low).toBeCloseTo(0.25, 6);
  expect(high).toBeCloseTo(0.75, 6);
});

test('separable classes have a finite fit, bounded by the penalty', () => {
  const model = fit(columnOf([-3, -2, -1, 1, 2, 3], [0, 0, 0, 1, 1, 1]), { l2: 1e-3 });
  expect(model.weight[0]).toBeGreaterThan(1);
  expect(model.weight[0]).toBeLessThan(50);
  expect([...scoreLogistic(model, Float32Array.of(-1, 1))].map(Math.round)).toEqual([0, 1]);
});

test('a missing value scores as the mean, an infinite one as a bounded one', () => {
  const model = fit(aMatrix());
  const [missing, mean, infinite, far] = ['missing', 'mean', 'infinite', 'far'].map((kind) =>
    scoreLogistic(
      model,
      model.mean.map((value, column) => {
        if (column > 0) return value;
        if (kind === 'missing') return Number.NaN;
        if (kind === 'infinite') return Number.POSITIVE_INFINITY;
        return kind === 'mean' ? value : value + 11 * model.scale[0]!;
      }),
    ).at(0),
  );
  expect(missing).toBe(mean);
  expect(infinite).toBe(far);
  expect(infinite).toBeGreaterThan(mean!);
});

test('constant, all-missing, duplicated and infinite columns do no harm', () => {
  const matrix = aMatrix({ rows: 800 });
  for (let row = 0; row < matrix.rows; row++) {
    const at = row * 5;
    matrix.x[at + 1] = matrix.x[at]!; // the same twice
    matrix.x[at + 2] = Number.NaN;
    matrix.x[at + 3] = row % 2 === 0 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  }
  const model = fit(matrix);
  expect(model.weight[0]).toBeCloseTo(model.weight[1]!, 6);
  expect([model.weight[2], model.weight[4]]).toEqual([0, 0]);
  expect(scoreLogistic(model, matrix.x).every((score) => score > 0 && score < 1)).toBe(true);
});
