import type { TensorMetadata } from '../oip/model.ts';

/**
 * Who computes a model: the tree evaluator on the event loop, an ONNX Runtime session on the event loop, or an ONNX Runtime
 * session in a thread of its own.
 */
export type Runner = 'trees' | 'inline' | 'thread';

/** What the loader has found out about a model file. Plain data: it comes from another thread. */
export interface ModelReport {
  readonly inputs: readonly TensorMetadata[];
  /** Outputs that are tensors; sequences and maps (scikit-learn's ZipMap) cannot be fetched and are left out. */
  readonly outputs: readonly TensorMetadata[];
  /** Whether the first dimension of every tensor is the batch, of any size. */
  readonly batched: boolean;
  readonly runner: Runner;
  /** Why this runner: what was measured. */
  readonly why: string;
  /** Bytes of the file and of weights in files beside it. */
  readonly fileBytes: number;
  /** Estimate of what the loaded model holds; see `memoryOf` in inspect-model.ts. */
  readonly memoryBytes: number;
  /** From opening the file to a proven model, milliseconds. */
  readonly loadMs: number;
  /** Golden rows that were asked and answered rightly. */
  readonly goldenRows: number;
}

/** Of a report what an operator reads. */
export function summaryOf({ runner, why, fileBytes, memoryBytes, loadMs, goldenRows }: ModelReport) {
  return { runner, why, fileBytes, memoryBytes, loadMs, goldenRows };
}
