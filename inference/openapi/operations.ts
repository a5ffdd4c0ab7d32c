/** How an operation of the description is put together. */
import type { JsonSchema } from './model-schema.ts';

export interface Operation {
  readonly method: 'get' | 'post';
  /** As OpenAPI writes it: `/v1/models/{model}`. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly JsonSchema[];
  /** By content type. */
  readonly body?: { readonly required: boolean; readonly content: Readonly<Record<string, JsonSchema>> };
  readonly answer: { readonly description: string; readonly content: Readonly<Record<string, JsonSchema>> };
  /** Statuses of errors, besides those that any route may have. */
  readonly errors: readonly number[];
  /** With 503 the same content as with 200 comes: it is an answer, not an error. */
  readonly answersUnready?: boolean;
  /** Whether it takes a bearer token. */
  readonly secured?: boolean;
}

/** What every status means, on all routes alike. */
const MEANINGS: Readonly<Record<number, string>> = {
  400: 'The request breaks a rule, which the error names.',
  401: 'A token is needed, or the one given is unknown.',
  403: 'The token’s role does not allow this.',
  404: 'There is no such model, version, prediction or address.',
  405: 'The address does not answer this method; `Allow` names those that it does.',
  408: 'The request did not arrive in time.',
  409: 'What was known at `asOf` cannot be told any more; `foldedAt` names the instant from which on it can.',
  413: 'The body is too large.',
  414: 'The address is too long.',
  415: 'The content type is none.',
  429: 'The client is over its rate; `Retry-After` says when to come back.',
  431: 'The headers are too large.',
  500: 'The model cannot be run on this input, or a bug; the log of the server says more.',
  503: 'Not now: the model is not ready, the queue is full, or the deadline cannot be met; `Retry-After` says when to come back.',
};
/** May come from any route: who sends such a request may not know the route at all. */
const EVERYWHERE = [400, 405, 408, 413, 414, 415, 431] as const;

export const json = (schema: JsonSchema): Readonly<Record<string, JsonSchema>> => ({ 'application/json': schema });

export const ref = (name: string): JsonSchema => ({ $ref: `#/components/schemas/${name}` });

/** @param errorForm how the route at hand puts its own errors: what Serin refuses before it knows the route is a problem anywhere */
export function describeOperation(
  {
    method,
    path,
    tag,
    summary,
    description,
    parameters = [],
    body,
    answer,
    errors,
    answersUnready = false,
    secured = false,
  }: Operation,
  errorForm: 'protocol' | 'problem',
): JsonSchema {
  const problem = { 'application/problem+json': { schema: ref('Problem') } };
  const content =
    errorForm === 'protocol' ? { 'application/json': { schema: ref('ProtocolError') }, ...problem } : problem;
  const statuses = [...new Set<number>([...errors, ...EVERYWHERE])].sort((a, b) => a - b);
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => PATH_PARAMETERS[name!]!);
  return {
    operationId: `${method}${path.replace(/[{}]/g, '').replace(/[/.](\w?)/g, (_, letter: string) => letter.toUpperCase())}`,
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    ...(secured && { security: [{}, { token: [] }] }),
    parameters: [...inPath, ...parameters],
    ...(body && { requestBody: { required: body.required, content: body.content } }),
    responses: {
      200: { description: answer.description, content: answer.content },
      ...Object.fromEntries(statuses.map((status) => [status, { description: MEANINGS[status], content }])),
      ...(answersUnready && { 503: { description: 'Not now.', content: answer.content } }),
    },
  };
}

const PATH_PARAMETERS: Readonly<Record<string, JsonSchema>> = {
  model: { name: 'model', in: 'path', required: true, schema: { type: 'string', minLength: 1, maxLength: 256 } },
  version: { name: 'version', in: 'path', required: true, schema: { type: 'string', minLength: 1, maxLength: 256 } },
  id: { name: 'id', in: 'path', required: true, schema: { type: 'string', minLength: 1, maxLength: 256 } },
};

const header = (name: string, description: string, schema: JsonSchema): JsonSchema => ({
  name,
  in: 'header',
  required: false,
  description,
  schema,
});

/** Of the routes that compute something. */
export const ADMISSION_HEADERS: readonly JsonSchema[] = [
  header('x-serin-deadline-ms', 'Answer within this many milliseconds, or refuse at once.', {
    type: 'number',
    exclusiveMinimum: 0,
    maximum: 3_600_000,
  }),
  header('x-serin-priority', 'What is served first when there is too much.', {
    enum: ['interactive', 'normal', 'background'],
    default: 'normal',
  }),
  header('x-serin-client', 'Who asks, for the rate of clients that show no key.', { type: 'string', maxLength: 256 }),
];

export const TESTER_HEADERS: readonly JsonSchema[] = [
  header('x-serin-version', 'A tester’s choice of the loaded version that answers; needs a token.', {
    type: 'string',
    pattern: '^v?[0-9]{1,9}$',
  }),
  header('x-serin-arm', 'A tester’s choice of the arm that answers; needs a token.', { enum: ['champion', 'canary'] }),
  header('traceparent', 'W3C trace context; the answer carries Serin’s own span.', { type: 'string' }),
];

export const HEADER_LENGTH: JsonSchema = header(
  'inference-header-content-length',
  'Bytes of JSON before the binary data; 0: the body is the data of the only input.',
  { type: 'integer', minimum: 0 },
);
