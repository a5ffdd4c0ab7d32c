/**
 * `POST …/infer` answered from node:http before the framework sees it, because routing, hooks, content type and reply of a
 * framework cost more CPU than the model (docs/decisions/0021). Only the plain case is: everything else goes on to the
 * framework, whose route answers the same by the same functions.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { retryAfterSeconds } from '../../platform/http-server.ts';
import { takeTrace, traceparentOf } from '../../platform/trace-context.ts';
import type { Ticket } from '../admission/admission.ts';
import { NORMAL } from '../admission/priority.ts';
import { protocolRefusal, statusOfRefusal } from '../admission/refusal.ts';
import { encodeBody, encodingFor } from './content-encoding.ts';
import { MESSAGE_LIMIT_BYTES } from './describe.ts';
import { BINARY_TYPE, callInfer, errorAnswer, HEADER_LENGTH, type InferDeps, JSON_TYPE } from './infer-call.ts';
import type { InferResponse } from './infer-response.ts';

/** Names that need no decoding, and no query. */
const INFER_PATH = /^\/v2\/models\/([\w.-]+)(?:\/versions\/([\w.-]+))?\/infer$/;

/** Puts itself between the server's requests and the framework. Must be called before the server listens. */
export function installDirectInfer(app: FastifyInstance, deps: InferDeps): void {
  const framework = app.server.listeners('request') as RequestListener[];
  let closing = false;
  // what comes while the server closes is the framework's to refuse
  app.addHook('preClose', (done) => {
    closing = true;
    done();
  });
  app.server.removeAllListeners('request');
  app.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (request.method === 'POST' && !closing && isPlain(request.headers)) {
      const path = INFER_PATH.exec(request.url!);
      if (path !== null) {
        answer(request, response, path[1]!, path[2]);
        return;
      }
    }
    for (const listener of framework) listener.call(app.server, request, response);
  });

  function answer(
    request: IncomingMessage,
    response: ServerResponse,
    model: string,
    version: string | undefined,
  ): void {
    const ticket: Ticket = { arrivedMs: 0, deadlineMs: Infinity, priority: NORMAL };
    try {
      const refused = deps.door.admit(ticket, request, model, performance.now());
      if (refused !== null) {
        // the body is not looked at; what of it has come, node drops
        send(request, response, statusOfRefusal(refused), JSON_TYPE, protocolRefusal(refused), refused.retryAfterMs);
        return;
      }
    } catch (error) {
      sendError(request, response, error);
      return;
    }
    // most bodies come in one piece with their head
    let body: Buffer | null = null;
    let pieces: Buffer[] | null = null;
    request.on('data', (piece: Buffer) => {
      if (body === null) body = piece;
      else (pieces ??= [body]).push(piece);
    });
    request.on('end', () => {
      const whole = pieces === null ? body! : Buffer.concat(pieces);
      callInfer(deps, model, version, request, ticket, whole).then(
        (given) => sendAnswer(request, response, given),
        (error: unknown) => sendError(request, response, error),
      );
    });
  }

  function sendError(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const { status, retryAfterMs, body, unexpected } = errorAnswer(error);
    if (unexpected) app.log.error({ err: error, traceId: takeTrace(request.headers)?.traceId }, 'inference failed');
    send(request, response, status, JSON_TYPE, body, retryAfterMs);
  }
}

/** A body that is there, of a known length within the limit, and not compressed. */
function isPlain(headers: IncomingHttpHeaders): boolean {
  const length = Number(headers['content-length']);
  return length > 0 && length <= MESSAGE_LIMIT_BYTES && headers['content-encoding'] === undefined;
}

function sendAnswer(request: IncomingMessage, response: ServerResponse, { body, headerLength }: InferResponse): void {
  const type = headerLength === null ? JSON_TYPE : BINARY_TYPE;
  if (headerLength !== null) response.setHeader(HEADER_LENGTH, headerLength);
  const encoding = encodingFor(request.headers['accept-encoding'], body);
  if (encoding === undefined) {
    send(request, response, 200, type, body);
    return;
  }
  response.setHeader('content-encoding', encoding);
  void encodeBody(encoding, body).then((bytes) => send(request, response, 200, type, bytes));
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  type: string,
  body: string | Buffer,
  retryAfterMs: number | null = null,
): void {
  const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
  const id = request.headers['x-request-id'] ?? randomUUID();
  const headers = ['x-request-id', id as string, 'content-type', type, 'content-length', String(length)];
  if (retryAfterMs !== null) {
    headers.push('retry-after', String(retryAfterSeconds(retryAfterMs)));
    headers.push('retry-after-ms', String(Math.ceil(retryAfterMs)));
  }
  if (request.headers['traceparent'] !== undefined) {
    const trace = takeTrace(request.headers);
    if (trace !== undefined) headers.push('traceparent', traceparentOf(trace));
  }
  response.writeHead(status, headers);
  response.end(body);
}
