import { timingSafeEqual } from 'node:crypto';
import { Gauge } from 'prom-client';
import { SerinError } from '../../domain/errors.ts';
import type { Config } from '../../platform/config.ts';
import type { Logger } from '../../platform/logger.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { createInferenceApp } from '../http/inference-app.ts';
import { FileRepository, type ModelFile } from '../oip/file-repository.ts';
import { type OipDeps, registerOipRoutes } from '../oip/routes.ts';
import { type ModelAction, processGroup } from './process-group.ts';
import { SERVER_VERSION, type ServingNode } from './serving-node.ts';

const LIMITS = { maxBatchRows: 512, maxQueueRows: 16_384 } as const;

/** Serves plain ONNX files over the Open Inference Protocol: no database, no features, no control plane. */
export async function startStandaloneNode(
  files: readonly ModelFile[],
  config: Pick<Config, 'nodeId'>,
  logger: Logger,
  operatorToken: string | null = null,
): Promise<ServingNode> {
  const registry = createMetrics({ service: 'inference', node: config.nodeId });
  const repository = new FileRepository(files, LIMITS);
  for (const { name } of files) await repository.load(name);
  new Gauge({
    name: 'serin_inference_queued_rows',
    help: 'Rows waiting for a batch.',
    registers: [registry],
    collect() {
      this.set(repository.queuedRows);
    },
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
    models: repository.models().map(({ name, versions }) => ({ model: name, versions })),
  }));
  const group = processGroup({
    statistics: () => repository.models().map(({ name, version, statistics }) => statistics.report(name, version)),
    manage: (action: ModelAction, model) => (action === 'load' ? repository.load(model) : repository.unload(model)),
  });
  const oip: OipDeps = {
    repository,
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
    async close() {
      await app.close();
      group.close();
      await repository.close();
    },
  };
}

/** Without a token whoever reaches the port may load and unload: plain files are served where the network is the fence. */
function requireToken({ headers }: Parameters<OipDeps['authorizeOperator']>[0], token: string | null): void {
  if (token === null) return;
  const given = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1];
  if (given === undefined)
    throw new SerinError('UNAUTHENTICATED', 'loading and unloading needs the header "Authorization: Bearer <token>"');
  const [a, b] = [Buffer.from(given), Buffer.from(token)];
  if (a.length !== b.length || !timingSafeEqual(a, b))
    throw new SerinError('FORBIDDEN', 'the token is not that of an operator of this server');
}
