import type { ProjectSpec, ModelSpec, TrainingSpec } from '../domain/project/spec.ts';
import type { Calibration } from '../domain/calibration/calibration.ts';
import { SerinError } from '../domain/errors.ts';
import type { BlobRef } from '../domain/blob.ts';
import type { ServingEvidence } from '../domain/gates/gate-evidence.ts';
import { type PostProcessing, postProcessingOf } from '../domain/registry/post-processing.ts';
import type { GoldenRows } from '../domain/registry/golden-rows.ts';
import type { EvaluationReport } from '../domain/training/evaluation-report.ts';

/** What a run is about, fixed when it opens (`run.params`). */
export interface RunPlan {
  readonly project: string;
  readonly projectDigest: string;
  readonly training: TrainingSpec;
}

/** What a run leaves behind (`run.result`), filled step by step. */
export interface RunResult {
  readonly modelFile?: BlobRef;
  /** Float32, one score per TEST row, by the trainer's own arithmetic: what served scores are compared with. */
  readonly testScores?: BlobRef;
  readonly importance?: readonly { readonly column: string; readonly importance: number }[];
  /** Absent where the training asks for none. */
  readonly calibration?: Calibration;
  readonly environment?: object;
  readonly trainRows?: number;
  readonly trainSeconds?: number;
  readonly trainCpuSeconds?: number | null;
  readonly schemaFindings?: readonly string[];
  readonly evaluation?: EvaluationReport;
  /** The version it was compared with, on the same rows. */
  readonly comparedWith?: number;
  readonly serving?: ServingEvidence;
  /** Known answers of the candidate, for its manifest. */
  readonly goldens?: GoldenRows;
}

/** What is done to the scores of the run's model before they are answers: by the model's spec, and by what was fitted. */
export function postProcessingOfRun(model: ModelSpec, { calibration }: RunResult): PostProcessing {
  return postProcessingOf({ ...model, ...(calibration !== undefined && { calibration }) });
}

export function modelOf(spec: ProjectSpec, model: string): ModelSpec {
  const found = spec.models.find(({ name }) => name === model);
  if (found === undefined) {
    throw new SerinError(
      'MODEL_NOT_FOUND',
      `the project "${spec.name}" has no model "${model}"; it has ${spec.models.map(({ name }) => name).join(', ')}`,
    );
  }
  return found;
}

export function trainingOf(spec: ProjectSpec, model: string, training: string): TrainingSpec {
  const { trainings } = modelOf(spec, model);
  const found = trainings.find(({ name }) => name === training);
  if (found === undefined) {
    throw new SerinError(
      'TRAINING_INVALID',
      `the model "${model}" has no training "${training}"; it has ${trainings.map(({ name }) => name).join(', ')}`,
    );
  }
  return found;
}
