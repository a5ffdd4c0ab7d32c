import './telemetry-off.ts';
import { InferenceSession } from 'onnxruntime-node';
import { SerinError } from '../../domain/errors.ts';

/**
 * One thread and no spinning: a process serves on one core, and a spinning pool of threads doubles the CPU per request
 * and stalls for milliseconds beside a busy neighbour (measured; research/serving-and-monitoring.md §2).
 */
const SESSION_OPTIONS: InferenceSession.SessionOptions = {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  graphOptimizationLevel: 'all',
  logSeverityLevel: 3,
  extra: { session: { intra_op: { allow_spinning: '0' } } },
};

/** @param source path, or the bytes themselves @throws SerinError `MODEL_FILE_INVALID` */
export async function createSession(source: string | Uint8Array, name: string): Promise<InferenceSession> {
  try {
    return typeof source === 'string'
      ? await InferenceSession.create(source, SESSION_OPTIONS)
      : await InferenceSession.create(source, SESSION_OPTIONS);
  } catch (error) {
    throw invalidModel(name, `ONNX Runtime does not load it: ${messageOf(error)}`, error);
  }
}

export function invalidModel(name: string, problem: string, cause?: unknown): SerinError {
  return new SerinError('MODEL_FILE_INVALID', `${name}: ${problem}`, { cause, fields: { model: name } });
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
