/**
 * The Open Inference Protocol v2 over HTTP with Triton's extensions for binary tensors, statistics, model configuration
 * and the model repository. Errors are `{"error": …}` with the status codes that Triton gives.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify';
import { installDirectRoute } from '../http/direct-routes.ts';
import { learnMethods } from '../../platform/allowed-methods.ts';
import { sayWhenToRetry } from '../../platform/http-server.ts';
import type { Door } from '../admission/admission.ts';
import { doorHooks, writeProtocolRefusal } from '../admission/door-hook.ts';
import { decodeBody, encodeBody, encodingFor } from './content-encoding.ts';
import {
  checkLoadParameters,
  MESSAGE_LIMIT_BYTES,
  modelConfiguration,
  modelIndex,
  modelMetadata,
  refusal,
  serverMetadata,
  statisticsOf,
} from './describe.ts';
import { echoTrace } from '../../platform/echo-trace.ts';
import { directInfer } from './direct-infer.ts';
import { BINARY_TYPE, callInfer, errorAnswer, HEADER_LENGTH, JSON_TYPE } from './infer-call.ts';
import { configType, isObject, parseJson } from './infer-request.ts';
import type { ModelRepository, TensorModel } from './model.ts';
import type { ModelStatisticsReport } from './statistics.ts';

export interface OipDeps {
  readonly repository: ModelRepository;
  /** Of requests with tensors. */
  readonly door: Door;
  readonly isReady: () => boolean;
  readonly serverVersion: string;
  /** Statistics of all processes behind the port. */
  readonly statistics: () => Promise<readonly ModelStatisticsReport[]>;
  /** Loads or unloads a model in all processes behind the port. */
  readonly manage: (action: 'load' | 'unload', model: string) => Promise<void>;
  /** @throws SerinError UNAUTHENTICATED, FORBIDDEN for those who may not load and unload */
  readonly authorizeOperator: (request: { readonly headers: { readonly authorization?: string | undefined } }) => void;
}

interface ModelRoute {
  Params: { model: string; version?: string };
}

export async function registerOipRoutes(app: FastifyInstance, deps: OipDeps): Promise<void> {
  installDirectRoute(app, directInfer(deps, app.log));
  await app.register((oip, _options, done) => {
    oip.removeAllContentTypeParsers();
    // whatever its content type says, or does not say: the real clients send none
    oip.addContentTypeParser(
      '*',
      { parseAs: 'buffer', bodyLimit: MESSAGE_LIMIT_BYTES },
      async (request: FastifyRequest, body: Buffer) => decodeBody(request.headers['content-encoding'], body),
    );
    oip.setErrorHandler((error, _request, reply) => sendError(reply, error));
    const methods = learnMethods(oip);
    registerServerRoutes(oip, deps);
    registerModelRoutes(oip, deps);
    registerRepositoryRoutes(oip, deps);
    // before the body is read
    const refuse: onRequestHookHandler = (request, reply, next) => next(methods.refuse(request, reply));
    oip.all('/v2*', { onRequest: refuse }, () => undefined);
    done();
  });
}

function registerServerRoutes(oip: FastifyInstance, { repository, isReady, serverVersion, statistics }: OipDeps): void {
  oip.get('/v2', () => serverMetadata(serverVersion));
  oip.get('/v2/health/live', () => ({ live: true }));
  oip.get('/v2/health/ready', (_request, reply) => {
    const ready = isReady();
    return reply.code(ready ? 200 : 503).send({ ready });
  });
  oip.get('/v2/models/stats', async () => ({ model_stats: await statistics() }));
  for (const path of ['/v2/models/:model/stats', '/v2/models/:model/versions/:version/stats']) {
    oip.get<ModelRoute>(path, async ({ params }) => {
      return { model_stats: statisticsOf(await statistics(), repository, params.model, params.version) };
    });
  }
}

function registerModelRoutes(oip: FastifyInstance, deps: OipDeps): void {
  const { repository, door } = deps;
  const hooks = doorHooks(door, writeProtocolRefusal);
  for (const path of ['/v2/models/:model', '/v2/models/:model/versions/:version']) {
    oip.get<ModelRoute>(path, ({ params }) => modelMetadata(repository.get(params.model, params.version)));
    oip.get<ModelRoute>(`${path}/config`, ({ params }) => configuration(repository.get(params.model, params.version)));
    oip.get<ModelRoute>(`${path}/ready`, ({ params }) => ({
      name: repository.get(params.model, params.version).name,
      ready: true,
    }));
    oip.post<ModelRoute>(`${path}/infer`, { bodyLimit: MESSAGE_LIMIT_BYTES, ...hooks }, async (request, reply) => {
      const { model, version } = request.params;
      echoTrace(request, reply);
      const { body, headerLength } = await callInfer(deps, model, version, request.raw, request, bodyOf(request));
      if (headerLength === null) void reply.type(JSON_TYPE);
      else void reply.type(BINARY_TYPE).header(HEADER_LENGTH, headerLength);
      const encoding = encodingFor(request.headers['accept-encoding'], body);
      if (encoding === undefined) return reply.send(body);
      return reply.header('content-encoding', encoding).send(await encodeBody(encoding, body));
    });
  }
}

function registerRepositoryRoutes(oip: FastifyInstance, { repository, manage, authorizeOperator }: OipDeps): void {
  oip.post('/v2/repository/index', (request, reply) => {
    const body = optionalObject(bodyOf(request));
    const { ready } = body;
    if (ready !== undefined && typeof ready !== 'boolean') throw refusal('"ready" must be true or false');
    return reply.send(modelIndex(repository, ready === true));
  });
  for (const action of ['load', 'unload'] as const) {
    oip.post<ModelRoute>(`/v2/repository/models/:model/${action}`, async (request, reply) => {
      authorizeOperator(request);
      const { parameters } = optionalObject(bodyOf(request));
      if (parameters !== undefined && !isObject(parameters)) throw refusal('"parameters" must be an object');
      checkLoadParameters(Object.keys(parameters ?? {}));
      await manage(action, request.params.model);
      return reply.code(200).type(JSON_TYPE).send('{}');
    });
  }
}

/** Over HTTP there is room for what has one value only. */
function configuration(model: TensorModel) {
  const common = modelConfiguration(model, configType);
  return {
    ...common,
    version_policy: { latest: { num_versions: 1 } },
    input: common.input.map((input) => ({ ...input, optional: false })),
    instance_group: [{ name: model.name, kind: 'KIND_CPU', count: 1 }],
  };
}

function bodyOf(request: FastifyRequest): Buffer {
  return (request.body as Buffer | undefined) ?? NO_BODY;
}

const NO_BODY = Buffer.alloc(0);

function optionalObject(body: Buffer): Readonly<Record<string, unknown>> {
  if (body.length === 0) return {};
  const value = parseJson(body);
  if (isObject(value)) return value;
  throw refusal('the request must be a JSON object, or empty');
}

function sendError(reply: FastifyReply, error: unknown): FastifyReply {
  const { status, retryAfterMs, body, unexpected } = errorAnswer(error);
  if (unexpected) reply.log.error({ err: error }, 'inference failed');
  if (retryAfterMs !== null) sayWhenToRetry(reply, retryAfterMs);
  return reply.code(status).type(JSON_TYPE).send(body);
}
