import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyError, FastifyInstance } from 'fastify';
import { sql } from 'kysely';
import { Histogram } from 'prom-client';
import { asDatabaseError } from '../db/database.ts';
import { createHttpServer, type Readiness } from '../platform/http-server.ts';
import { guardRoutes } from './access.ts';
import type { ApiContext } from './context.ts';
import type { ApiDependencies } from './dependencies.ts';
import type { Api } from './route-schema.ts';
import { registerAsyncPredictionRoutes } from './routes/async-predictions.ts';
import { registerCatalogueRoutes } from './routes/catalogue.ts';
import { registerDatasetRoutes } from './routes/datasets.ts';
import { registerDecisionRoutes } from './routes/decisions.ts';
import { registerEntityRoutes } from './routes/entities.ts';
import { registerEventRoutes } from './routes/events.ts';
import { registerFeatureRoutes } from './routes/features.ts';
import { registerModelRoutes } from './routes/models.ts';
import { registerMonitorRoutes } from './routes/monitors.ts';
import { registerOperationRoutes } from './routes/operations.ts';
import { registerPredictionRoutes } from './routes/predictions.ts';
import { registerProjectRoutes } from './routes/projects.ts';
import { registerRolloutCommandRoutes } from './routes/rollout-commands.ts';
import { registerRolloutRoutes } from './routes/rollouts.ts';
import { registerRunRoutes } from './routes/runs.ts';
import { registerScoringRoutes } from './routes/scoring.ts';
import { registerSourceRoutes } from './routes/sources.ts';
import { registerTokenRoutes } from './routes/tokens.ts';

/** 5,000 events of a kilobyte or two, or a project with its code. */
const BODY_LIMIT_BYTES = 16 << 20;

const ROUTES = [
  registerProjectRoutes,
  registerSourceRoutes,
  registerEventRoutes,
  registerEntityRoutes,
  registerFeatureRoutes,
  registerCatalogueRoutes,
  registerDatasetRoutes,
  registerRunRoutes,
  registerModelRoutes,
  registerRolloutRoutes,
  registerRolloutCommandRoutes,
  registerPredictionRoutes,
  registerScoringRoutes,
  registerAsyncPredictionRoutes,
  registerMonitorRoutes,
  registerDecisionRoutes,
  registerTokenRoutes,
  registerOperationRoutes,
] as const satisfies readonly ((api: Api, context: ApiContext) => void)[];

/** The control plane. Its routes are under `/v1`, their description at `/docs` and `/docs/json`. */
export async function createApp(dependencies: ApiDependencies): Promise<FastifyInstance> {
  const { logger, registry } = dependencies;
  const closing = new AbortController();
  const app = createHttpServer({
    logger,
    registry,
    readiness: () => readiness(dependencies),
    bodyLimitBytes: BODY_LIMIT_BYTES,
  });
  // responses are described by their schemas but not cut down to them
  app.setSerializerCompiler(() => (answer) => JSON.stringify(answer));
  app.addHook('preClose', async () => closing.abort());
  observeRequests(app, dependencies);
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Serin control plane',
        description: DESCRIPTION,
        version: '1',
      },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'An API token.' } } },
      security: [{ token: [] }],
    },
    transform: ({ schema, url }) => ({
      schema,
      url: url.replace('/*', '/{workflowId}'),
    }),
  });
  await app.register(swaggerUi, { routePrefix: '/docs', uiConfig: { docExpansion: 'list', tryItOutEnabled: true } });
  await app.register(
    async (scope) => {
      const access = guardRoutes(scope, dependencies.db);
      scope.setErrorHandler((error: FastifyError) => {
        throw asDatabaseError(error);
      });
      for (const register of ROUTES)
        register(scope as unknown as Api, { ...dependencies, access, closing: closing.signal });
    },
    { prefix: '/v1' },
  );
  await app.ready();
  return app;
}

const DESCRIPTION = [
  'Delivers models: data in, versions out, traffic moved and taken back.',
  'Errors are `application/problem+json` with a `code` of `docs/reference/errors.md`.',
  'Instants in answers are integer microseconds since 1970-01-01T00:00:00Z.',
].join(' ');

/** A duration per route and one log line per request: what joins a call to the workflow it started. */
function observeRequests(app: FastifyInstance, { registry }: ApiDependencies): void {
  const seconds = new Histogram({
    name: 'serin_api_request_seconds',
    help: 'Time to answer a request to the control plane.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60],
    registers: [registry],
  });
  app.decorateRequest('workflowId', undefined);
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    seconds.observe({ method: request.method, route, status: reply.statusCode }, reply.elapsedTime / 1_000);
    if (!route.startsWith('/v1')) return;
    request.log.info(
      {
        method: request.method,
        path: request.url.split('?', 1)[0],
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
        principal: (request.principal as { principal: string } | null)?.principal,
        workflowId: request.workflowId,
      },
      'request',
    );
  });
}

/** Ready means that reads work: an API without Temporal still shows what is, and says what is missing. */
async function readiness({ db, workflows }: ApiDependencies): Promise<Readiness> {
  const [database, temporal] = await Promise.all([
    sql`select 1`.execute(db).then(
      () => 'ok',
      (error: unknown) => `PostgreSQL does not answer: ${(error as Error).message}`,
    ),
    workflows
      .isReachable()
      .then((reachable) => (reachable ? 'ok' : 'Temporal does not answer: nothing can be started')),
  ]);
  return { ready: database === 'ok', checks: { database, temporal } };
}
