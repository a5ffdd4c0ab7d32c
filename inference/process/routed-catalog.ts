import { SerinError } from '../../domain/errors.ts';
import type { TensorCatalog } from '../http/oip-routes.ts';
import type { RouteEntry } from '../routing/route-entry.ts';

/** The models of the routing table for clients that bring their own tensors: the champion, or any loaded version by number. */
export function routedCatalog(entryOf: (model: string) => RouteEntry | undefined): TensorCatalog {
  return {
    get(model, version) {
      const entry = entryOf(model);
      if (!entry) throw new SerinError('MODEL_NOT_FOUND', `unknown model '${model}'`);
      const served =
        version === undefined ? entry.champion : entry.loaded.find((each) => String(each.version) === version);
      const versions = entry.loaded.map((each) => String(each.version));
      if (!served) {
        throw new SerinError(
          'VERSION_NOT_FOUND',
          `version '${version}' of model '${model}' is not loaded; ${versions.join(', ')} are`,
        );
      }
      return {
        name: model,
        version: String(served.version),
        versions,
        platform: served.kind === 'rule' ? 'serin_rule' : 'onnx_onnxv1',
        inputName: 'features',
        outputName: 'score',
        featureCount: served.scorer.featureCount,
        served,
      };
    },
  };
}
