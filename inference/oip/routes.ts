/**
 * The Open Inference Protocol v2 over HTTP with Triton's extensions for binary tensors, statistics, model configuration
 * and the model repository. Errors are `{"error": …}` with the status codes that Triton gives.
 */
import { promisify } from 'node:util';
import { deflate, gunzip, gzip, inflate } from 'node:zlib';
import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify';
import { SerinError } from '../../domain/errors.ts';
import { learnMethods } from '../../platform/allowed-methods.ts';
import { retryAfterSeconds } from '../../platform/http-server.ts';
import { messageOf } from '../model/create-session.ts';
import {
  checkLoadParameters,
  MESSAGE_LIMIT_BYTES,
  modelConfiguration,
  modelIndex,
  modelMetadata,
  refusal,
  serverMetadata,
  statisticsOf,
  statusOf,
} from './describe.ts';
import { configType, isObject, parseJson, readInferRequest } from './infer-request.ts';
import { writeInferResponse } from './infer-response.ts';
import type { ModelRepository, TensorModel } from './model.ts';
import type { ModelStatisticsReport } from './statistics.ts';

export interface OipDeps {
  readonly repository: ModelRepository;
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

const JSON_TYPE = 'application/json; charset=utf-8';
const HEADER_LENGTH = 'inference-header-content-length';
/** Smaller answers are not worth the CPU of compressing them. */
const COMPRESS_FROM_BYTES = 1_024;

const DECODERS = new Map([
  ['gzip', promisify(gunzip)],
  ['deflate', promisify(inflate)],
]);
const ENCODERS = new Map([
  ['gzip', promisify(gzip)],
  ['deflate', promisify(deflate)],
]);

export async function registerOipRoutes(app: FastifyInstance, deps: OipDeps): Promise<void> {
  await app.register((oip, _options, done) => {
    oip.removeAllContentTypeParsers();
    // whatever its content type says, or does not say: the real clients send none
    oip.addContentTypeParser(
      '*',
      { parseAs: 'buffer', bodyLimit: MESSAGE_LIMIT_BYTES },
      async (request: FastifyRequest, body: Buffer) => decoded(request, body),
    );
    oip.setErrorHandler((error, _request, reply) => sendError(reply, error));
    const methods = learnMethods(oip);
    registerServerRoutes(oip, deps);
    registerModelRoutes(oip, deps);
    registerRepositoryRoutes(oip, deps);
    // before the body is read
    const refuse: onRequestHookHandler = (request, reply, next) => next(methods.refuse(request, reply));
    oip.all('/v2/*', { onRequest: refuse }, () => undefined);
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

function registerModelRoutes(oip: FastifyInstance, { repository }: OipDeps): void {
  for (const path of ['/v2/models/:model', '/v2/models/:model/versions/:version']) {
    oip.get<ModelRoute>(path, ({ params }) => modelMetadata(repository.get(params.model, params.version)));
    oip.get<ModelRoute>(`${path}/config`, ({ params }) => configuration(repository.get(params.model, params.version)));
    oip.get<ModelRoute>(`${path}/ready`, ({ params }) => ({
      name: repository.get(params.model, params.version).name,
      ready: true,
    }));
    oip.post<ModelRoute>(`${path}/infer`, { bodyLimit: MESSAGE_LIMIT_BYTES }, async (request, reply) => {
      const model = repository.get(request.params.model, request.params.version);
      const infer = readInferRequest(bodyOf(request), headerLengthOf(request), model);
      const tensors = await model.infer(infer.inputs, infer.outputs, infer.timeoutMs);
      const { body, headerLength } = writeInferResponse(model, infer, tensors);
      if (headerLength === null) void reply.type(JSON_TYPE);
      else void reply.type('application/octet-stream').header(HEADER_LENGTH, headerLength);
      return encoded(request, reply, body);
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

function headerLengthOf(request: FastifyRequest): number | undefined {
  const text = request.headers[HEADER_LENGTH];
  if (text === undefined) return undefined;
  if (typeof text === 'string' && /^\d{1,15}$/.test(text)) return Number(text);
  throw refusal(`Inference-Header-Content-Length is "${String(text)}", expected the number of bytes of JSON`);
}

async function decoded(request: FastifyRequest, body: Buffer): Promise<Buffer> {
  const encoding = request.headers['content-encoding']?.toLowerCase();
  if (encoding === undefined || encoding === 'identity') return body;
  const decode = DECODERS.get(encoding);
  if (decode === undefined) {
    throw refusal(`the content encoding "${encoding}" is not taken; gzip and deflate are`);
  }
  try {
    return await decode(body, { maxOutputLength: MESSAGE_LIMIT_BYTES });
  } catch (error) {
    throw new SerinError('INPUT_INVALID', `the body cannot be decoded as ${encoding}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function encoded(
  request: FastifyRequest,
  reply: FastifyReply,
  body: string | Buffer,
): FastifyReply | Promise<FastifyReply> {
  const accepted = request.headers['accept-encoding'];
  if (accepted === undefined || body.length < COMPRESS_FROM_BYTES) return reply.send(body);
  const encoding = [...ENCODERS.keys()].find((name) => accepts(accepted, name));
  if (encoding === undefined) return reply.send(body);
  return ENCODERS.get(encoding)!(body).then((bytes) => reply.header('content-encoding', encoding).send(bytes));
}

/** Of a list such as `gzip;q=0.5, deflate`; a quality of 0 is a no (RFC 9110, 12.5.3). */
function accepts(accepted: string | readonly string[], encoding: string): boolean {
  return String(accepted)
    .toLowerCase()
    .split(',')
    .some((part) => {
      const [name, ...parameters] = part.split(';').map((piece) => piece.trim());
      return name === encoding && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
    });
}

function sendError(reply: FastifyReply, error: unknown): FastifyReply {
  const status = error instanceof SerinError ? statusOf(error) : statusOfOther(error);
  if (status >= 500 && !(error instanceof SerinError)) reply.log.error({ err: error }, 'inference failed');
  if (error instanceof SerinError && error.retryable)
    void reply.header('retry-after', retryAfterSeconds(error.retryAfterMs));
  return reply
    .code(status)
    .type(JSON_TYPE)
    .send(JSON.stringify({ error: messageOf(error) }));
}

/** Of what Fastify itself refuses. */
function statusOfOther(error: unknown): number {
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  return typeof status === 'number' && status >= 400 ? status : 500;
}
