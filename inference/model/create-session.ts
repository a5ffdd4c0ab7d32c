import './telemetry-off.ts';
import { InferenceSession } from 'onnxruntime-node';
import { messageOf, SerinError } from '../../domain/errors.ts';

/**
 * One thread and no spinning: a process serves on one core, and a spinning pool of threads doubles the CPU per request
 * and stalls for milliseconds beside a busy neighbour (measured; research/serving-and-monitoring.md §2).
 */
const SESSION_OPTIONS: InferenceSession.SessionOptions = {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  graphOptimizationLevel: 'all',
  // of a run that fails it would write a line to stderr, with values of the request in it; the error that it throws is told where it belongs
  logSeverityLevel: 4,
  extra: { session: { intra_op: { allow_spinning: '0' } } },
};
const MAPPED_OPTIONS: InferenceSession.SessionOptions = {
  ...SESSION_OPTIONS,
  extra: { session: { intra_op: { allow_spinning: '0' }, disable_prepacking: '1' } },
};

export interface SessionChoice {
  /**
   * Weights in files beside the model stay there, mapped into memory and shared by all processes, instead of being copied
   * into the layout that multiplies fastest. Measured with 400 MB of weights: created in 7 ms instead of 1,800, no memory of
   * its own, one row in 66 ms instead of 84, 32 rows in 328 instead of 205.
   */
  readonly mapped: boolean;
}

/** @throws SerinError `MODEL_FILE_INVALID` */
export async function createSession(path: string, name: string, { mapped }: SessionChoice): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(path, mapped ? MAPPED_OPTIONS : SESSION_OPTIONS);
  } catch (error) {
    throw invalidModel(name, `ONNX Runtime does not load it: ${messageOf(error)}`, error);
  }
}

export function invalidModel(name: string, problem: string, cause?: unknown): SerinError {
  return new SerinError('MODEL_FILE_INVALID', `${name}: ${problem}`, { cause, fields: { model: name } });
}
