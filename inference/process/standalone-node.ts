import { timingSafeEqual } from 'node:crypto';
import { SerinError } from '../../domain/errors.ts';
import type { Config } from '../../platform/config.ts';
import type { Logger } from '../../platform/logger.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { startAdmission } from '../admission/start-admission.ts';
import { createInferenceApp } from '../http/inference-app.ts';
import { createLoadMetrics, reportingLoads } from '../model/load-metrics.ts';
import { budgetBytes } from '../model/memory-budget.ts';
import { ModelLoader } from '../model/model-loader.ts';
import { FileRepository, type ModelFile } from '../oip/file-repository.ts';
import { createOipMetrics } from '../oip/oip-metrics.ts';
import { type OipDeps, registerOipRoutes } from '../oip/routes.ts';
import { registerOpenApi } from '../openapi/openapi-routes.ts';
import { tensorSchema } from '../openapi/tensor-schema.ts';
import { type ModelAction, processGroup } from './process-group.ts';
import { SERVER_VERSION, type ServingNode } from './serving-node.ts';

const LIMITS = { maxBatchRows: 512, maxQueueRows: 16_384 } as const;

/** Serves plain ONNX files over the Open Inference Protocol: no database, no features, no control plane. */
export async function startStandaloneNode(
  files: readonly ModelFile[],
  config: Pick<Config, 'nodeId'> & Partial<Config>,
  logger: Logger,
  operatorToken: string | null = null,
): Promise<ServingNode> {
  const deadlineMs = config.inferenceDeadlineMs || null;
  const registry = createMetrics({ service: 'inference', node: config.nodeId });
  const { admission, onRefused, release } = startAdmission(registry, config, () => ({
    batchers: repository.batchers(),
    costs: { infer: repository.costs },
  }));
  const loading = createLoadMetrics(registry, () => repository.held());
  let serving = false;
  const loader = new ModelLoader({ ...reportingLoads(loading, logger), givesWay: () => serving });
  const repository = new FileRepository(files, LIMITS, {
    loader,
    memoryBytes: budgetBytes(config.inferenceModelMemoryMib ?? 0),
    onUnload: (reason) => loading.unloaded(reason),
    onRefused,
  });
  await repository.loadAll();
  serving = true;
  const door = admission.doorFor({
    costs: repository.costs,
    batcherOf: (model) => repository.batcherOf(model),
    deadlineMsOf: () => deadlineMs,
  });
  const isReady = (): boolean => repository.models().length > 0;
  const app = createInferenceApp({
    logger,
    registry,
    readiness: () => ({
      ready: isReady(),
      checks: Object.fromEntries(repository.index().map(({ name, state, reason }) => [name, reason || state])),
    }),
  });
  app.get('/v1/models', () => ({
    models: repository.describe(),
  }));
  registerOpenApi(app, {
    server: () => ({ version: SERVER_VERSION, repository, entries: null }),
    schemaOf: (model) => tensorSchema(repository.get(model, undefined)),
  });
  createOipMetrics(registry, () => repository.models());
  const group = processGroup({
    statistics: () => repository.models().map(({ name, version, statistics }) => statistics.report(name, version)),
    manage: (action: ModelAction, model) => (action === 'load' ? repository.load(model) : repository.unload(model)),
  });
  const oip: OipDeps = {
    repository,
    door,
    isReady,
    serverVersion: SERVER_VERSION,
    statistics: () => group.statistics(),
    manage: (action, model) => group.manage(action, model),
    authorizeOperator: (request) => requireToken(request, operatorToken),
  };
  await registerOipRoutes(app, oip);
  return {
    app,
    registry,
    oip,
    isReady,
    refreshRoutes: () => Promise.resolve(),
    flush: () => Promise.resolve(),
    release,
    async close() {
      await app.close();
      group.close();
      await repository.close();
      await loader.close();
    },
  };
}

/** Without a token whoever reaches the port may load and unload: plain files are served where the network is the fence. */
function requireToken({ headers }: Parameters<OipDeps['authorizeOperator']>[0], token: string | null): void {
  if (token === null) return;
  const given = /^Bearer (.+)$/i.exec(headers.authorization ?? '')?.[1];
  if (given === undefined)
    throw new SerinError('UNAUTHENTICATED', 'loading and unloading needs the header "Authorization: Bearer <token>"');
  const [a, b] = [Buffer.from(given), Buffer.from(token)];
  if (a.length !== b.length || !timingSafeEqual(a, b))
    throw new SerinError('FORBIDDEN', 'the token is not that of an operator of this server');
}
