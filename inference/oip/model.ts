import type { Priority } from '../admission/priority.ts';
import type { Datatype, TensorData } from './datatypes.ts';
import type { ModelStatistics } from './statistics.ts';

export interface TensorMetadata {
  readonly name: string;
  readonly datatype: Datatype;
  /** −1: any size. */
  readonly shape: readonly number[];
}

export interface Tensor {
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** One version of a model as the Open Inference Protocol sees it. */
export interface TensorModel {
  readonly name: string;
  readonly version: string;
  /** All versions of the model that can be asked. */
  readonly versions: readonly string[];
  readonly platform: 'onnx_onnxv1' | 'serin_rule';
  readonly inputs: readonly TensorMetadata[];
  readonly outputs: readonly TensorMetadata[];
  /** Whether the first dimension of every tensor is the batch, of any size. */
  readonly batched: boolean;
  readonly statistics: ModelStatistics;
  /**
   * @param inputs   one per `inputs`, in that order, of their datatypes and shapes
   * @param outputs  positions in `outputs`
   * @param deadlineMs  by when it must be answered, of `performance.now()`; Infinity: no bound
   * @returns one tensor per asked output
   * @throws SerinError OVERLOADED when there is no room or the deadline cannot be met, INFERENCE_FAILED
   */
  infer(
    inputs: readonly Tensor[],
    outputs: readonly number[],
    deadlineMs: number,
    priority: Priority,
  ): Promise<readonly Tensor[]>;
}

export interface ModelIndexEntry {
  readonly name: string;
  readonly version: string;
  readonly state: 'READY' | 'UNAVAILABLE' | 'LOADING';
  readonly reason: string;
}

/** What a server has to offer. */
export interface ModelRepository {
  /** The named version, or without one the version that serves. @throws SerinError MODEL_NOT_FOUND, VERSION_NOT_FOUND, MODEL_NOT_READY */
  get(model: string, version: string | undefined): TensorModel;
  index(): readonly ModelIndexEntry[];
  models(): readonly TensorModel[];
  /** Loads or reloads from where the model comes from; the standing one serves until then. @throws SerinError MODEL_NOT_FOUND, MODEL_FILE_INVALID, COMMAND_REFUSED */
  load(model: string): Promise<void>;
  /** @throws SerinError MODEL_NOT_FOUND, COMMAND_REFUSED */
  unload(model: string): Promise<void>;
}
