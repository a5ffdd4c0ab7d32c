import { canonicalJson } from '../domain/canonical-json.ts';
import { SerinError } from '../domain/errors.ts';
import type { TrainerSpec } from '../domain/training/trainer-spec.ts';
import { type GbtState, trainGbt } from './gbt/gbt-training.ts';
import { gainPerColumn, scoreTrees } from './gbt/tree-ensemble.ts';
import { holdOutLatest } from './holdout.ts';
import { type LogisticState, trainLogistic } from './logistic/logistic-training.ts';
import { scoreLogistic } from './logistic/logistic-model.ts';
import type { TrainingMatrix } from './matrix.ts';
import type { SteppableTraining, TrainedModel } from './training-steps.ts';

export interface TrainingRequest {
  readonly spec: TrainerSpec;
  readonly matrix: TrainingMatrix;
  /** A 32-bit whole number. */
  readonly seed: number;
}

export interface Training extends SteppableTraining {
  /** A checkpoint: what `startTraining` carries on from, given the same request. */
  serialize(): Uint8Array;
}

const CHECKPOINT_FORMAT = 'serin-training/1';

/**
 * Begins a training, or carries on from a checkpoint; the final model has the same bytes either way.
 * @throws SerinError TRAINING_INVALID when the labels are all of one class, or the checkpoint is unreadable or of another request
 */
export function startTraining(request: TrainingRequest, checkpoint?: Uint8Array): Training {
  const { spec, matrix, seed } = request;
  refuseOneClass(matrix, spec.validationFraction);
  const fingerprint = fingerprintOf(request);
  const saved = checkpoint === undefined ? undefined : readCheckpoint(checkpoint, fingerprint);
  const training =
    spec.kind === 'gbt'
      ? trainGbt(spec, matrix, seed, saved as GbtState | undefined)
      : trainLogistic(spec, matrix, saved as LogisticState | undefined);
  return Object.assign(training, {
    serialize: () =>
      new TextEncoder().encode(JSON.stringify({ format: CHECKPOINT_FORMAT, fingerprint, state: training.state() })),
  });
}

/** Probabilities of class 1 for row-major rows, as the exported model gives them (to within 1e-6). */
export function scoreRows(model: TrainedModel, x: Float32Array): Float32Array {
  return model.kind === 'gbt' ? scoreTrees(model, x) : scoreLogistic(model, x);
}

/** How much each column matters: total gain of its splits, or the size of its standardised coefficient. */
export function columnImportance(model: TrainedModel): { readonly column: string; readonly importance: number }[] {
  const importance = model.kind === 'gbt' ? gainPerColumn(model) : model.weight.map(Math.abs);
  return model.columns.map((column, index) => ({ column, importance: importance[index]! }));
}

function refuseOneClass({ asOf, y }: TrainingMatrix, validationFraction: number): void {
  const { fit } = holdOutLatest(asOf, validationFraction);
  const first = y[fit[0]!];
  if (fit.every((row) => y[row] === first))
    throw new SerinError(
      'TRAINING_INVALID',
      `all ${fit.length} rows to fit have label ${first}; a classifier needs both classes`,
      {
        fields: { rows: fit.length, label: first },
      },
    );
}

function readCheckpoint(bytes: Uint8Array, fingerprint: string): unknown {
  let checkpoint: { format?: unknown; fingerprint?: unknown; state?: unknown } | null;
  try {
    checkpoint = JSON.parse(new TextDecoder().decode(bytes)) as typeof checkpoint;
  } catch (cause) {
    throw new SerinError('TRAINING_INVALID', `the training checkpoint (${bytes.length} bytes) cannot be read`, {
      cause,
    });
  }
  if (checkpoint?.format !== CHECKPOINT_FORMAT)
    throw new SerinError(
      'TRAINING_INVALID',
      `the training checkpoint has the format ${String(checkpoint?.format)}, not ${CHECKPOINT_FORMAT}`,
    );
  if (checkpoint.fingerprint !== fingerprint)
    throw new SerinError(
      'TRAINING_INVALID',
      'the training checkpoint is of another spec, seed or dataset; start without it',
    );
  return checkpoint.state;
}

/** Tells requests apart, so that a checkpoint is not carried on with other data (FNV-1a over values; no defence against intent). */
function fingerprintOf({ spec, matrix, seed }: TrainingRequest): string {
  const words = new Uint32Array(matrix.x.buffer, matrix.x.byteOffset, matrix.x.length);
  const head = new TextEncoder().encode(canonicalJson({ spec, seed, columns: matrix.columns, rows: matrix.rows }));
  let hash = 0x811c_9dc5;
  for (const part of [head, words, matrix.y])
    for (let at = 0; at < part.length; at++) hash = Math.imul(hash ^ part[at]!, 0x0100_0193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}
