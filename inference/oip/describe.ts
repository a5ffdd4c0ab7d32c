/** What is said of models, requests and errors alike over HTTP and gRPC. */
import { SerinError } from '../../domain/errors.ts';
import { shownValue } from '../../domain/shown-value.ts';
import type { Datatype } from './datatypes.ts';
import type { ModelIndexEntry, ModelRepository, TensorMetadata, TensorModel } from './model.ts';
import type { ModelStatisticsReport } from './statistics.ts';

export const EXTENSIONS: readonly string[] = [
  'binary_tensor_data',
  'statistics',
  'model_configuration',
  'model_repository',
  'schedule_policy',
];
/** A request with its data in one piece. */
export const MESSAGE_LIMIT_BYTES = 64 << 20;
/** What the configuration says of batched models; larger requests run as they are. */
const MAX_BATCH_SIZE = 512;

export function serverMetadata(version: string) {
  return { name: 'serin', version, extensions: EXTENSIONS };
}

export function modelMetadata({ name, versions, platform, inputs, outputs }: TensorModel) {
  return { name, versions, platform, inputs, outputs };
}

/** Triton's model configuration, as far as it has a meaning here; dims leave the batch out. @param typeOf how the protocol at hand names a datatype */
export function modelConfiguration<T>(
  { name, platform, batched, inputs, outputs }: TensorModel,
  typeOf: (datatype: Datatype) => T,
) {
  const dims = ({ name: tensor, datatype, shape }: TensorMetadata) => ({
    name: tensor,
    data_type: typeOf(datatype),
    dims: batched ? shape.slice(1) : shape,
  });
  return {
    name,
    platform: platform === 'onnx_onnxv1' ? 'onnxruntime_onnx' : platform,
    backend: platform === 'onnx_onnxv1' ? 'onnxruntime' : 'serin',
    max_batch_size: batched ? MAX_BATCH_SIZE : 0,
    input: inputs.map(dims),
    output: outputs.map(dims),
    default_model_filename: 'model.onnx',
  };
}

/** @param version undefined: all of the model @throws as `ModelRepository.get` */
export function statisticsOf(
  all: readonly ModelStatisticsReport[],
  repository: ModelRepository,
  model: string,
  version: string | undefined,
): ModelStatisticsReport[] {
  const { name } = repository.get(model, version);
  return all.filter((each) => each.name === name && (version === undefined || each.version === version));
}

export function modelIndex(repository: ModelRepository, readyAlone: boolean): readonly ModelIndexEntry[] {
  return repository.index().filter(({ state }) => !readyAlone || state === 'READY');
}

/** @throws SerinError INPUT_INVALID for parameters that would load something else than the server was started with */
export function checkLoadParameters(names: readonly string[]): void {
  const other = names.find((name) => name !== 'unload_dependents');
  if (other !== undefined)
    throw refusal(
      `the parameter ${shownValue(other)} is not taken: a model is loaded from the file it was started with`,
    );
}

/** The status of an error over HTTP. A file that does not load and a command that is refused are bad requests to Triton's clients. */
export function statusOf(error: SerinError): number {
  return error.code === 'MODEL_FILE_INVALID' || error.code === 'COMMAND_REFUSED' ? 400 : error.status;
}

/** What a client did wrong. */
export function refusal(rule: string): SerinError {
  return new SerinError('INPUT_INVALID', rule);
}
