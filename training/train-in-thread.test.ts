import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { fitCalibration } from '../domain/calibration/fit-calibration.ts';
import { checkTrainerSpec } from '../domain/training/trainer-spec.ts';
import { holdOutLatest } from './holdout.ts';
import { readMatrix } from './matrix.ts';
import { inspectOnnx } from './onnx/inspect-onnx.ts';
import { writeDataset } from './testing/a-dataset.ts';
import { scoreRows, startTraining } from './training.ts';
import { trainInThread, type TrainInThreadRequest } from './train-in-thread.ts';

const folder = mkdtempSync(join(tmpdir(), 'serin-train-'));
const datasetPath = join(folder, 'dataset.parquet');
let runs = 0;

beforeAll(async () => {
  await writeDataset(datasetPath, { rows: 4000 });
});

function aRequest(overrides: Partial<TrainInThreadRequest> = {}): TrainInThreadRequest {
  const run = join(folder, `run-${runs++}`);
  return {
    spec: checkTrainerSpec({ kind: 'gbt', trees: 20, leaves: 8 }, 'spec'),
    datasetPath,
    columns: ['linear', 'stepped', 'weekday', 'noise'],
    seed: 3,
    outDir: join(run, 'out'),
    checkpointDir: join(run, 'checkpoints'),
    checkpointEverySteps: 5,
    ...overrides,
  };
}

test('a training reports each step and leaves a model that can be served', async () => {
  const steps: number[] = [];
  const checkpoints: number[] = [];
  const request = aRequest({
    onProgress: ({ step }) => steps.push(step),
    onCheckpoint: ({ step }) => checkpoints.push(step),
  });
  const result = await trainInThread(request);

  expect(steps).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
  expect(checkpoints).toEqual([5, 10, 15]);
  expect(readdirSync(request.checkpointDir)).toEqual(['step-000010.json', 'step-000015.json']);
  expect(readdirSync(request.outDir)).toEqual(['model.onnx', 'test-scores.f32']);
  // of 4,000 labelled rows the last fifth is TEST, four bytes a score
  const scores = readFileSync(result.testScoresPath ?? '');
  expect(scores.length).toBe(4 * 800);
  const [least, most] = [Math.min, Math.max].map((pick) =>
    pick(...Array.from({ length: 800 }, (_, row) => scores.readFloatLE(4 * row))),
  );
  expect(least).toBeGreaterThan(0);
  expect(most).toBeLessThan(1);
  expect(inspectOnnx(readFileSync(result.modelPath)).inputs).toEqual([
    { name: 'features', type: 'float32', shape: ['N', 4] },
  ]);
  expect(result.metricsPerStep.map(({ step }) => step)).toEqual(steps);
  expect(result.importance.map(({ column }) => column)).toEqual(request.columns);
  expect(result.trainRows).toBe(3200);
  expect(result.environment).toMatchObject({ node: process.versions.node, seed: 3, spec: request.spec });
  expect(result.environment.serin).toMatch(/^\d+\.\d+\.\d+/);
  expect(result.cpuSeconds).toBeLessThanOrEqual(result.seconds + 0.5);
});

test('a calibration is fitted on the held-out rows alone, and the model file stays as it is', async () => {
  const plain = await trainInThread(aRequest());
  const calibrated = await trainInThread(aRequest({ calibration: 'platt' }));
  expect(readFileSync(calibrated.modelPath)).toEqual(readFileSync(plain.modelPath));
  expect(readFileSync(calibrated.testScoresPath!)).toEqual(readFileSync(plain.testScoresPath!));
  expect(plain).not.toHaveProperty('calibration');

  const { matrix } = await readMatrix({ path: datasetPath, columns: aRequest().columns, split: 'TRAIN' });
  const { validation } = holdOutLatest(matrix.asOf, 0.1);
  const training = startTraining({ spec: aRequest().spec, matrix, seed: 3 });
  while (!training.done) training.advance();
  const scores = scoreRows(training.model(), matrix.x);
  const expected = fitCalibration(
    'platt',
    Uint8Array.from(validation, (row) => matrix.y[row]!),
    Float32Array.from(validation, (row) => scores[row]!),
  );
  expect(validation.length).toBe(320);
  expect(calibrated.calibration).toEqual(expected);
});

test('a calibration that the held-out rows do not carry ends the training with what to do', async () => {
  const request = aRequest({
    spec: checkTrainerSpec({ kind: 'gbt', trees: 5, validationFraction: 0.002 }, 'spec'),
    calibration: 'isotonic',
  });
  await expect(trainInThread(request)).rejects.toMatchObject({
    code: 'TRAINING_INVALID',
    message: expect.stringMatching(/needs 10 validation rows of each class.*validationFraction/) as string,
  });
});

test('a training cancelled half-way and resumed leaves the same model as one that was not', async () => {
  const whole = readFileSync((await trainInThread(aRequest())).modelPath);

  const abort = new AbortController();
  let checkpoint = '';
  const first = aRequest({
    spec: checkTrainerSpec({ kind: 'gbt', trees: 20, leaves: 8 }, 'spec'),
    signal: abort.signal,
    onCheckpoint: ({ path }) => {
      checkpoint = path;
      abort.abort();
    },
  });
  await expect(trainInThread(first)).rejects.toMatchObject({ code: 'CANCELLED' });

  const steps: number[] = [];
  const resumed = await trainInThread(aRequest({ resumeFrom: checkpoint, onProgress: ({ step }) => steps.push(step) }));
  expect(steps[0]).toBeGreaterThan(5);
  expect(readFileSync(resumed.modelPath)).toEqual(whole);
  expect(resumed.metricsPerStep.length).toBe(20);
});

test('a checkpoint that newer ones replaced is resumed from the newest, or from the start when all are gone', async () => {
  const request = aRequest();
  const model = readFileSync((await trainInThread(request)).modelPath);
  const dropped = join(request.checkpointDir, 'step-000005.json');
  const firstSteps: number[] = [];
  for (const prepare of [() => undefined, () => rmSync(request.checkpointDir, { recursive: true })]) {
    prepare();
    const steps: number[] = [];
    const again = await trainInThread({
      ...aRequest(),
      resumeFrom: dropped,
      onProgress: ({ step }) => steps.push(step),
    });
    expect(readFileSync(again.modelPath)).toEqual(model);
    firstSteps.push(steps[0]!);
  }
  expect(firstSteps).toEqual([16, 1]);
});

test('cancelling before, while reading or while training ends at once and leaves no model', async () => {
  await expect(trainInThread(aRequest({ signal: AbortSignal.abort() }))).rejects.toMatchObject({ code: 'CANCELLED' });

  const whileReading = new AbortController();
  const reading = trainInThread(aRequest({ signal: whileReading.signal }));
  whileReading.abort();
  await expect(reading).rejects.toMatchObject({ code: 'CANCELLED' });

  const whileTraining = new AbortController();
  const long = aRequest({
    spec: checkTrainerSpec({ kind: 'gbt', trees: 10_000 }, 'spec'),
    signal: whileTraining.signal,
    onProgress: () => whileTraining.abort(),
  });
  await expect(trainInThread(long)).rejects.toMatchObject({ code: 'CANCELLED' });
  expect(() => readdirSync(long.outDir)).toThrow(/ENOENT/);
});

test('refusals keep their code across the thread', async () => {
  await expect(trainInThread(aRequest({ columns: ['absent'] }))).rejects.toMatchObject({
    name: 'SerinError',
    code: 'COLUMN_UNKNOWN',
    fields: { column: 'absent' },
  });
  await expect(trainInThread(aRequest({ checkpointEverySteps: 0 }))).rejects.toMatchObject({
    code: 'TRAINING_INVALID',
  });
});

test('an error of the listener is the training’s error', async () => {
  const onProgress = (): void => {
    throw new RangeError('listener');
  };
  await expect(trainInThread(aRequest({ onProgress }))).rejects.toThrow(new RangeError('listener'));
});
