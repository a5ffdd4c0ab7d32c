import { randomUUID } from 'node:crypto';
import {
  fastify,
  LogController,
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifySchemaValidationError,
} from 'fastify';
import type { Registry } from 'prom-client';
import { Compile } from 'typebox/compile';
import Value from 'typebox/value';
import type { TSchema } from 'typebox';
import { ERRORS, isErrorCode, SerinError } from '../domain/errors.ts';
import { learnMethods } from './allowed-methods.ts';
import type { Logger } from './logger.ts';
import { takeTrace } from './trace-context.ts';
import { answerMalformed, answerUnroutable, PROBLEM_TYPE } from './malformed-requests.ts';

/** RFC 9457, with the code of the error table and the machine-readable fields of the error as extension members. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly instance: string;
  readonly code: string;
  readonly [field: string]: unknown;
}

export interface Readiness {
  readonly ready: boolean;
  /** Part → `ok` or what is wrong with it. */
  readonly checks: Readonly<Record<string, string>>;
}

export interface HttpServerOptions {
  readonly logger: Logger;
  readonly registry: Registry;
  readonly readiness: () => Promise<Readiness> | Readiness;
  readonly bodyLimitBytes?: number;
  readonly connections?: ConnectionLimits;
}

/** What a connection may take, so that slow or idle clients hold none for ever. */
export interface ConnectionLimits {
  /** For the head of a request, from the first moment of the connection on. */
  readonly headersTimeoutMs: number;
  /** For a whole request with its body. */
  readonly requestTimeoutMs: number;
  /** Between two requests; longer than that of a load balancer before it. */
  readonly keepAliveTimeoutMs: number;
  /** Connections beyond are closed when they come. */
  readonly maxConnections: number;
}

/** Connections that are over their time are looked for this often. */
const CONNECTIONS_CHECKED_EVERY_MS = 1_000;

export { PROBLEM_TYPE };
/** Of a name in a path: longer than any model's. */
const MAX_PARAMETER_LENGTH = 256;
const VIOLATIONS_MAX = 20;

/**
 * A Fastify instance with what every Serin process answers alike: problem+json errors, strict body validation (a string
 * is never taken for a number; query strings and paths are converted), request ids, `/health/live`, `/health/ready`,
 * `/metrics`.
 */
export function createHttpServer({
  logger,
  registry,
  readiness,
  bodyLimitBytes = 8 << 20,
  connections,
}: HttpServerOptions): FastifyInstance {
  const app: FastifyInstance = fastify({
    loggerInstance: logger as FastifyBaseLogger,
    bodyLimit: bodyLimitBytes,
    requestIdHeader: 'x-request-id',
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    genReqId: () => randomUUID(),
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: MAX_PARAMETER_LENGTH },
    clientErrorHandler: answerMalformed,
    frameworkErrors: answerUnroutable,
    ...(connections !== undefined && {
      requestTimeout: connections.requestTimeoutMs,
      keepAliveTimeout: connections.keepAliveTimeoutMs,
      http: {
        headersTimeout: connections.headersTimeoutMs,
        connectionsCheckingInterval: CONNECTIONS_CHECKED_EVERY_MS,
      },
    }),
  });
  if (connections !== undefined) app.server.maxConnections = connections.maxConnections;
  // Linux hands errors of the network to accept(2), for a connection that is lost by then. Unheard, one would end the process. What
  // goes wrong before it listens, `listen` tells.
  app.server.on('error', (error) => {
    if (app.server.listening) logger.warn({ err: error }, 'a connection could not be accepted');
  });
  app.setValidatorCompiler(({ schema, httpPart }) => validatorOf(schema as TSchema, httpPart ?? 'body'));
  app.setErrorHandler((error, request, reply) => {
    const { status, retryAfterMs, body } = answerError(error, request, app.log);
    if (retryAfterMs !== null) sayWhenToRetry(reply, retryAfterMs);
    return reply.code(status).type(PROBLEM_TYPE).send(body);
  });
  const methods = learnMethods(app);
  app.setNotFoundHandler((request, reply) => {
    throw methods.refuse(request, reply);
  });
  // not async: a promise for each request costs as much as all the rest of the hook
  app.addHook('onRequest', (request, reply, done) => {
    void reply.header('x-request-id', request.id);
    // before the body of a request that no route takes is read, and complained about
    done(request.is404 ? methods.refuse(request, reply) : undefined);
  });
  app.get('/health/live', { schema: { hide: true } as object }, () => ({ status: 'ok' }));
  app.get('/health/ready', { schema: { hide: true } as object }, async (_request, reply) => {
    const { ready, checks } = await readiness();
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ok' : 'not ready', checks });
  });
  app.get('/metrics', { schema: { hide: true } as object }, async (_request, reply) =>
    reply.type(registry.contentType).send(await registry.metrics()),
  );
  return app;
}

/** The header has whole seconds, and 0 would mean at once. */
export function retryAfterSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1_000));
}

/** In seconds, as the standard has it, and as exactly as it is known. */
export function sayWhenToRetry(reply: FastifyReply, ms: number): void {
  void reply.header('retry-after', retryAfterSeconds(ms)).header('retry-after-ms', Math.ceil(ms));
}

/** What is known of a request that went wrong; of one that the framework has seen, its parts too. */
export type Asked = Pick<FastifyRequest, 'id' | 'url' | 'headers'> & Partial<FastifyRequest>;

export interface ErrorAnswer {
  readonly status: number;
  /** After which to try again, for what passes; null: the client need not come back with the same. */
  readonly retryAfterMs: number | null;
  /** Of type problem+json. */
  readonly body: string;
}

/** What a client is told about an error; what Serin did not throw on purpose goes to the log. */
export function answerError(error: unknown, request: Asked, log: Pick<FastifyBaseLogger, 'error'>): ErrorAnswer {
  const problem = problemOf(error, request);
  const { code, status } = problem;
  if (code === 'INTERNAL') {
    const traceId = takeTrace(request.headers)?.traceId;
    log.error({ err: error, requestId: request.id, ...(traceId !== undefined && { traceId }) }, 'request failed');
  }
  const isRetryable = isErrorCode(code) && ERRORS[code].retryable;
  const retryAfterMs = error instanceof SerinError ? error.retryAfterMs : 1_000;
  return { status, retryAfterMs: isRetryable ? retryAfterMs : null, body: JSON.stringify(problem) };
}

function problemOf(error: unknown, request: Asked): Problem {
  const instance = pathOf(request);
  if (error instanceof SerinError) {
    return { ...error.fields, ...named(error.code, error.title, error.status), detail: error.message, instance };
  }
  const failure = error as Partial<FastifyError>;
  if (failure.validation !== undefined) {
    const violations = failure.validation
      .filter(({ keyword }) => keyword !== 'additionalProperties') // the unknown members themselves are listed too
      .slice(0, VIOLATIONS_MAX)
      .map((violation) => violationOf(violation, failure.validationContext, request));
    const { title, status } = ERRORS.INPUT_INVALID;
    return { ...named('INPUT_INVALID', title, status), detail: sentence(violations), instance, violations };
  }
  if (failure.statusCode !== undefined && failure.statusCode >= 400 && failure.statusCode < 500) {
    const detail = detailOf(failure, request);
    return { ...named('INPUT_INVALID', ERRORS.INPUT_INVALID.title, failure.statusCode), detail, instance };
  }
  return {
    ...named('INTERNAL', 'Something went wrong inside Serin', 500),
    detail: `this is a bug; the log has the details under requestId ${String(request.id)}`,
    instance,
  };
}

function detailOf(failure: Partial<FastifyError>, request: Asked): string {
  // Fastify's own sentence names neither what came nor what is wanted; curl -d without a header is the usual way here
  if (failure.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    const given = request.headers['content-type'];
    return `the header content-type is ${given === undefined ? 'missing' : JSON.stringify(given.slice(0, 100))}: send application/json`;
  }
  return failure.message ?? 'the request is malformed';
}

function named(code: string, title: string, status: number) {
  return { type: `urn:serin:error:${code}`, title, status, code };
}

interface Violation {
  /** `body/rows/0/asOf`: the part of the request and the JSON pointer in it. */
  readonly field: string;
  readonly value: unknown;
  readonly rule: string;
}

function violationOf(error: FastifySchemaValidationError, context: string | undefined, request: Asked): Violation {
  const part = context ?? 'body';
  const missing = error.keyword === 'required' ? missingOf(error.params) : undefined;
  const path = error.instancePath + (missing === undefined ? '' : `/${missing}`);
  return { field: `${part}${path}`, value: valueAt(partOf(request, part), path), rule: ruleOf(error) };
}

function ruleOf({ keyword, params, message = keyword }: FastifySchemaValidationError): string {
  if (keyword === 'required') return 'must be present';
  if (keyword === 'boolean') return 'is not a known member';
  const allowed = params['allowedValues'];
  return Array.isArray(allowed) ? `must be one of ${allowed.join(', ')}` : message;
}

function missingOf(params: Record<string, unknown>): string | undefined {
  const names = params['requiredProperties'];
  return Array.isArray(names) ? String(names[0]) : undefined;
}

function sentence(violations: readonly Violation[]): string {
  const [first, ...others] = violations;
  if (first === undefined) return 'the request does not fit its schema';
  const shown = JSON.stringify(first.value) ?? 'missing';
  const value = shown.length > 120 ? `${shown.slice(0, 120)}…` : shown;
  const more = others.length > 0 ? ` (and ${others.length} more)` : '';
  return `${first.field} is ${value}: ${first.rule}${more}`;
}

function partOf(request: Asked, part: string): unknown {
  switch (part) {
    case 'querystring':
      return request.query;
    case 'params':
      return request.params;
    case 'headers':
      return request.headers;
    default:
      return request.body;
  }
}

function valueAt(root: unknown, pointer: string): unknown {
  let value = root;
  for (const step of pointer.split('/').slice(1)) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<string, unknown>)[step.replaceAll('~1', '/').replaceAll('~0', '~')];
  }
  return value;
}

function pathOf(request: Asked): string {
  return request.url.split('?', 1)[0] ?? request.url;
}

/** Fastify calls this once per schema; bodies are taken as they are, text-only parts are converted to the schema's types. */
function validatorOf(schema: TSchema, httpPart: string) {
  const compiled = Compile(schema);
  return (input: unknown): { value: unknown } | { error: FastifySchemaValidationError[] } => {
    const value = httpPart === 'body' ? input : Value.Convert(schema, Value.Default(schema, Value.Clone(input)));
    if (compiled.Check(value)) return { value };
    return { error: compiled.Errors(value) as unknown as FastifySchemaValidationError[] };
  };
}
