import { Worker } from 'node:worker_threads';
import { compiledModule } from '../domain/compiled-module.ts';
import { SerinError } from '../domain/errors.ts';
import type { StepMetrics } from './training-steps.ts';
import type { ThreadMessage, ThreadRequest, TrainingCheckpoint, TrainingResult } from './training-thread.ts';

export type { TrainingCheckpoint, TrainingResult } from './training-thread.ts';

export interface TrainInThreadRequest extends ThreadRequest {
  readonly onProgress?: (metrics: StepMetrics) => void;
  /** The file is complete and on disk; it stays until two newer ones are. Any path ever told may be resumed from. */
  readonly onCheckpoint?: (checkpoint: TrainingCheckpoint) => void;
  readonly signal?: AbortSignal;
}

/**
 * Reads a dataset, trains and writes `model.onnx`, all in a thread of its own. Running it again, from the start or from
 * any of its checkpoints, leaves the same model file.
 * @throws SerinError CANCELLED soon after the signal aborts (nothing half-written is left in place); TRAINING_INVALID,
 *   DATASET_NOT_FOUND, DATASET_EMPTY, COLUMN_UNKNOWN, COLUMN_TYPE, STORAGE_FULL
 */
export async function trainInThread({
  onProgress,
  onCheckpoint,
  signal,
  ...request
}: TrainInThreadRequest): Promise<TrainingResult> {
  if (!Number.isSafeInteger(request.checkpointEverySteps) || request.checkpointEverySteps < 1)
    throw new SerinError(
      'TRAINING_INVALID',
      `checkpointEverySteps is ${request.checkpointEverySteps} but must be a whole number from 1`,
    );
  if (signal?.aborted) throw cancelled();
  const worker = new Worker(new URL(compiledModule(import.meta.url, './training-thread.ts')), { workerData: request });
  const { promise, resolve, reject } = settlement<TrainingResult>();
  const abort = (): void => reject(cancelled());
  signal?.addEventListener('abort', abort, { once: true });
  worker.on('error', reject);
  worker.on('exit', (code) => reject(new Error(`the training thread ended with code ${code} and without a result`)));
  worker.on('message', (message: ThreadMessage) => {
    try {
      switch (message.type) {
        case 'progress':
          onProgress?.(message.metrics);
          break;
        case 'checkpoint':
          onCheckpoint?.(message.checkpoint);
          break;
        case 'done':
          resolve(message.result);
          break;
        case 'failed':
          reject(new SerinError(message.code, message.detail, { fields: message.fields }));
          break;
      }
    } catch (error) {
      reject(error);
    }
  });
  try {
    return await promise;
  } finally {
    signal?.removeEventListener('abort', abort);
    await worker.terminate();
  }
}

function cancelled(): SerinError {
  return new SerinError('CANCELLED', 'the training was cancelled');
}

/** Promise.withResolvers, which Node 20 does not have. */
function settlement<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (reason: unknown) => void } {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((resolveIt, rejectIt) => {
    resolve = resolveIt;
    reject = rejectIt;
  });
  return { promise, resolve, reject };
}
