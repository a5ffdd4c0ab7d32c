import { SerinError } from '../../domain/errors.ts';
import type { Config } from '../../platform/config.ts';
import type { Logger } from '../../platform/logger.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { MicroBatcher } from '../batching/micro-batcher.ts';
import { createInferenceApp } from '../http/inference-app.ts';
import { registerOipRoutes, type TensorCatalog, type TensorModel } from '../http/oip-routes.ts';
import { loadOnnxModel } from '../model/onnx-session.ts';
import { scoreTensors, type TensorWork } from '../scoring/score-tensors.ts';
import { SERVER_VERSION, type ServingNode } from './serving-node.ts';

export interface ModelFile {
  readonly name: string;
  readonly path: string;
}

const LIMITS = { maxBatchRows: 512, maxQueueRows: 16_384 } as const;
const ONLY_VERSION = '1';

/** Serves plain ONNX files over the Open Inference Protocol: no database, no features, the same batching and scoring. */
export async function startStandaloneNode(
  files: readonly ModelFile[],
  config: Pick<Config, 'nodeId'>,
  logger: Logger,
): Promise<ServingNode> {
  const registry = createMetrics({ service: 'inference', node: config.nodeId });
  const models = new Map<string, TensorModel>();
  for (const { name, path } of files) {
    const scorer = await loadOnnxModel(path, name);
    models.set(name, {
      name,
      version: ONLY_VERSION,
      versions: [ONLY_VERSION],
      platform: 'onnx_onnxv1',
      inputName: scorer.inputName,
      outputName: scorer.outputName,
      featureCount: scorer.featureCount,
      served: { scorer },
    });
  }
  const batcher = new MicroBatcher<TensorWork>(scoreTensors, LIMITS);
  const app = createInferenceApp({ logger, registry, readiness: () => ({ ready: true, checks: {} }) });
  app.get('/v1/models', () => ({
    models: [...models.values()].map(({ name, versions }) => ({ model: name, versions })),
  }));
  await registerOipRoutes(app, {
    catalog: fixedCatalog(models),
    submit: (work) => batcher.submit(work),
    isReady: () => true,
    serverVersion: SERVER_VERSION,
  });
  return {
    app,
    registry,
    isReady: () => true,
    refreshRoutes: () => Promise.resolve(),
    flush: () => Promise.resolve(),
    async close() {
      await app.close();
      await batcher.whenIdle();
      for (const { served } of models.values()) await served.scorer.release();
    },
  };
}

function fixedCatalog(models: ReadonlyMap<string, TensorModel>): TensorCatalog {
  return {
    get(name, version) {
      const model = models.get(name);
      if (!model) throw new SerinError('MODEL_NOT_FOUND', `unknown model '${name}'`);
      if (version !== undefined && version !== model.version) {
        throw new SerinError('VERSION_NOT_FOUND', `model '${name}' has no version '${version}', only ${model.version}`);
      }
      return model;
    },
  };
}
