import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import type { Calibration, CalibrationMethod } from '../domain/calibration/calibration.ts';
import { fitCalibration } from '../domain/calibration/fit-calibration.ts';
import { type ErrorCode, SerinError } from '../domain/errors.ts';
import type { TrainerSpec } from '../domain/training/trainer-spec.ts';
import { holdOutLatest } from './holdout.ts';
import { readMatrix, type TrainingMatrix } from './matrix.ts';
import { exportModel } from './onnx/export-model.ts';
import { columnImportance, scoreRows, startTraining, type Training } from './training.ts';
import { threadCpuSeconds, type TrainingEnvironment, trainingEnvironment } from './training-environment.ts';
import type { StepMetrics, TrainedModel } from './training-steps.ts';
import { writeFileAtomically } from './write-file-atomically.ts';

export interface ThreadRequest {
  readonly spec: TrainerSpec;
  readonly datasetPath: string;
  readonly columns: readonly string[];
  readonly seed: number;
  /** Fitted on the rows that the trainer holds out to validate. */
  readonly calibration?: CalibrationMethod;
  readonly outDir: string;
  readonly checkpointDir: string;
  readonly checkpointEverySteps: number;
  readonly resumeFrom?: string;
}

export interface TrainingResult {
  /** `model.onnx` in the output folder. */
  readonly modelPath: string;
  /** `test-scores.f32`: little-endian float32, the trainer's own score of each labelled TEST row in order; null without such rows. */
  readonly testScoresPath: string | null;
  readonly metricsPerStep: readonly StepMetrics[];
  /** Per column: total gain of its splits, or the size of its standardised coefficient. */
  readonly importance: readonly { readonly column: string; readonly importance: number }[];
  /** Absent: none was asked for. */
  readonly calibration?: Calibration;
  readonly environment: TrainingEnvironment;
  /** Labelled rows of the TRAIN split, with those held out to validate. */
  readonly trainRows: number;
  readonly seconds: number;
  /** Of the training thread (reading's own threads left out), without earlier attempts; null where it cannot be told. */
  readonly cpuSeconds: number | null;
}

export interface TrainingCheckpoint {
  readonly path: string;
  readonly step: number;
}

/** What the thread tells its owner. */
export type ThreadMessage =
  | { readonly type: 'progress'; readonly metrics: StepMetrics }
  | { readonly type: 'checkpoint'; readonly checkpoint: TrainingCheckpoint }
  | { readonly type: 'done'; readonly result: TrainingResult }
  | {
      readonly type: 'failed';
      readonly code: ErrorCode;
      readonly detail: string;
      readonly fields: Readonly<Record<string, unknown>>;
    };

const MODEL_FILE = 'model.onnx';
const TEST_SCORES_FILE = 'test-scores.f32';
const CHECKPOINT_PREFIX = 'step-';
const CHECKPOINT_SUFFIX = '.json';
/** One may just be being read by a successor. */
const KEPT_CHECKPOINTS = 2;

/** What served scores are held against: the same rows by the arithmetic that was trained, not by the exported file. */
async function scoreTestRows(
  model: TrainedModel,
  { datasetPath, columns, outDir }: ThreadRequest,
): Promise<string | null> {
  try {
    const { matrix } = await readMatrix({ path: datasetPath, columns, split: 'TEST' });
    const path = join(outDir, TEST_SCORES_FILE);
    const scores = scoreRows(model, matrix.x);
    writeFileAtomically(path, new Uint8Array(scores.buffer, scores.byteOffset, scores.byteLength));
    return path;
  } catch (error) {
    if (error instanceof SerinError && error.code === 'DATASET_EMPTY') return null;
    throw error;
  }
}

/**
 * By the rows that the trainer holds out, none of them a test row. Early stopping has looked at them, too: with it the
 * calibrated loss on these rows is a little too good, which the test rows show.
 */
function calibrationOf(
  model: TrainedModel,
  matrix: TrainingMatrix,
  { spec, calibration }: ThreadRequest,
): Calibration | undefined {
  if (calibration === undefined) return undefined;
  const { validation } = holdOutLatest(matrix.asOf, spec.validationFraction);
  const width = matrix.columns.length;
  const x = new Float32Array(validation.length * width);
  validation.forEach((row, i) => x.set(matrix.x.subarray(row * width, (row + 1) * width), i * width));
  const y = Uint8Array.from(validation, (row) => matrix.y[row]!);
  return fitCalibration(calibration, y, scoreRows(model, x));
}

async function train(request: ThreadRequest, tell: (message: ThreadMessage) => void): Promise<TrainingResult> {
  const startedAt = performance.now();
  const { spec, datasetPath, columns, seed, outDir } = request;
  const { matrix } = await readMatrix({ path: datasetPath, columns, split: 'TRAIN' });
  const training = startTraining({ spec, matrix, seed }, readCheckpointFile(request.resumeFrom));
  runSteps(training, request, tell);
  const model = training.model();
  const modelPath = join(outDir, MODEL_FILE);
  const environment = trainingEnvironment(spec, seed);
  const calibration = calibrationOf(model, matrix, request);
  writeFileAtomically(modelPath, exportModel(model, environment.serin));
  return {
    modelPath,
    testScoresPath: await scoreTestRows(model, request),
    metricsPerStep: training.metrics,
    importance: columnImportance(model),
    ...(calibration !== undefined && { calibration }),
    environment,
    trainRows: matrix.rows,
    seconds: (performance.now() - startedAt) / 1000,
    cpuSeconds: threadCpuSeconds(),
  };
}

function runSteps(
  training: Training,
  { checkpointDir, checkpointEverySteps }: ThreadRequest,
  tell: (message: ThreadMessage) => void,
): void {
  const kept: string[] = [];
  while (!training.done) {
    const metrics = training.advance();
    tell({ type: 'progress', metrics });
    if (training.done || metrics.step % checkpointEverySteps !== 0) continue;
    const path = join(
      checkpointDir,
      `${CHECKPOINT_PREFIX}${String(metrics.step).padStart(6, '0')}${CHECKPOINT_SUFFIX}`,
    );
    writeFileAtomically(path, training.serialize());
    tell({ type: 'checkpoint', checkpoint: { path, step: metrics.step } });
    kept.push(path);
    if (kept.length > KEPT_CHECKPOINTS) rmSync(kept.shift()!, { force: true });
  }
}

/**
 * The checkpoint asked for. The owner may know only of one that newer ones have replaced: then the newest beside it, or
 * none, will do, since every start leads to the same model.
 */
function readCheckpointFile(path: string | undefined): Uint8Array | undefined {
  if (path === undefined) return undefined;
  if (existsSync(path)) return readFileSync(path);
  const folder = dirname(path);
  const newest = (existsSync(folder) ? readdirSync(folder) : [])
    .filter((name) => name.startsWith(CHECKPOINT_PREFIX) && name.endsWith(CHECKPOINT_SUFFIX))
    .toSorted()
    .at(-1);
  return newest === undefined ? undefined : readFileSync(join(folder, newest));
}

if (!isMainThread && parentPort !== null) {
  const port = parentPort;
  const tell = (message: ThreadMessage): void => port.postMessage(message);
  try {
    tell({ type: 'done', result: await train(workerData as ThreadRequest, tell) });
  } catch (error) {
    // An error's class does not survive the way between threads; anything but a SerinError is a bug and ends the thread.
    if (!(error instanceof SerinError)) throw error;
    tell({ type: 'failed', code: error.code, detail: error.message, fields: error.fields });
  }
}
