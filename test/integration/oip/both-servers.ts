import { identityOnnx, linearOnnx } from '../../../inference/model/onnx-fixture.ts';
import { ALL_ELEMENT_TYPES } from './fuzz-corpus/infer-requests.ts';
import { type RoutedModel, startRoutedModel } from './routed-model.ts';
import { type ServedModels, serveModels } from './serve-models.ts';

/** Of the infer requests of the corpus. */
export const FILE_MODELS = {
  m: linearOnnx({ weights: [1, 0.5], bias: 0.25 }),
  all: identityOnnx({ elementTypes: ALL_ELEMENT_TYPES, width: 2 }),
};

/** The two kinds of server there are: one of plain files, one of routes. */
export interface BothServers {
  readonly files: ServedModels;
  readonly routed: RoutedModel;
  close(): Promise<void>;
}

export async function startBothServers(): Promise<BothServers> {
  const files = await serveModels(FILE_MODELS);
  const routed = await startRoutedModel();
  return {
    files,
    routed,
    async close() {
      await Promise.all([files.close(), routed.close()]);
    },
  };
}
