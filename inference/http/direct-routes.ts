/**
 * Requests that compute something are answered from node:http before the framework sees them, because routing, hooks, content
 * type and reply of a framework cost more CPU than the model (docs/decisions/0021). Only the plain case is: everything else goes
 * on to the framework, whose routes answer the same by the same functions.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { retryAfterSeconds } from '../../platform/http-server.ts';
import { takeTrace, type TraceContext, traceparentOf } from '../../platform/trace-context.ts';
import type { Door, Ticket } from '../admission/admission.ts';
import { NORMAL } from '../admission/priority.ts';
import { type Refusal, statusOfRefusal } from '../admission/refusal.ts';

/** A `POST` whose body is there, of a known length, and not compressed. */
export interface DirectRoute {
  /** The whole address: names that need no decoding, and no query. Its first group is the model. */
  readonly path: RegExp;
  readonly bodyLimitBytes: number;
  /** Of a content type; what says another one is the framework's to judge. Absent: any. */
  readonly contentType?: RegExp;
  readonly door: Door;
  /** In the form of the protocol at hand. */
  readonly refusal: { readonly type: string; readonly write: (refusal: Refusal, url: string) => string };
  /** Answers, or throws, or rejects before anything has been sent. */
  readonly answer: (call: DirectCall) => Promise<void>;
  readonly sendError: (request: IncomingMessage, response: ServerResponse, error: unknown) => void;
}

/** A request that was let in, with all of its body. */
export interface DirectCall {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: RegExpExecArray;
  readonly ticket: Readonly<Ticket>;
  readonly body: Buffer;
}

/** Puts a route between the server's requests and the framework. Must be called before the server listens. */
export function installDirectRoute(app: FastifyInstance, route: DirectRoute): void {
  // the framework, and routes that were put before it already
  const others = app.server.listeners('request') as RequestListener[];
  let closing = false;
  // what comes while the server closes is the framework's to refuse
  app.addHook('preClose', (done) => {
    closing = true;
    done();
  });
  app.server.removeAllListeners('request');
  app.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (request.method === 'POST' && !closing) {
      const path = route.path.exec(request.url!);
      if (path !== null && isPlain(request.headers, route)) {
        carryOut(route, request, response, path);
        return;
      }
    }
    for (const listener of others) listener.call(app.server, request, response);
  });
}

function carryOut(
  { door, refusal, answer, sendError }: DirectRoute,
  request: IncomingMessage,
  response: ServerResponse,
  path: RegExpExecArray,
): void {
  const ticket: Ticket = { arrivedMs: 0, deadlineMs: Infinity, priority: NORMAL };
  // what of the body comes, node drops
  const refuse = (refused: Refusal): void => {
    const body = refusal.write(refused, request.url!);
    const { retryAfterMs } = refused;
    send(request, response, { status: statusOfRefusal(refused), type: refusal.type, body, retryAfterMs });
  };
  try {
    const refused = door.admit(ticket, request, path[1]!, performance.now());
    if (refused !== null) {
      refuse(refused);
      return;
    }
  } catch (error) {
    sendError(request, response, error);
    return;
  }
  const take = (body: Buffer): void => {
    const fail = (error: unknown): void => sendError(request, response, error);
    try {
      answer({ request, response, path, ticket, body }).catch(fail);
    } catch (error) {
      fail(error);
    }
  };
  readBody(request, response, door, take, refuse);
}

function isPlain(headers: IncomingHttpHeaders, { bodyLimitBytes, contentType }: DirectRoute): boolean {
  const length = Number(headers['content-length']);
  if (!(length > 0 && length <= bodyLimitBytes) || headers['content-encoding'] !== undefined) return false;
  const type = headers['content-type'];
  return contentType === undefined || type === undefined || contentType.test(type);
}

function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  door: Door,
  done: (body: Buffer) => void,
  refuse: (refusal: Refusal) => void,
): void {
  // most bodies come in one piece with their head, and hold no more than what was read from the socket
  let first: Buffer | null = null;
  let pieces: Buffer[] | null = null;
  let heldBytes = 0;
  request.on('data', (piece: Buffer) => {
    if (first === null) {
      first = piece;
      return;
    }
    if (pieces === null) {
      pieces = [first];
      response.once('close', () => door.letGo(heldBytes));
    }
    pieces.push(piece);
    const refused = door.hold(piece.length);
    if (refused === null) {
      heldBytes += piece.length;
      return;
    }
    request.removeAllListeners('data').removeAllListeners('end');
    refuse(refused);
  });
  request.on('end', () => done(pieces === null ? first! : Buffer.concat(pieces)));
}

export function requestIdOf({ headers }: IncomingMessage): string {
  return (headers['x-request-id'] as string | undefined) || randomUUID();
}

export interface DirectAnswer {
  readonly status: number;
  /** `content-type` */
  readonly type: string;
  readonly body: string | Buffer;
  readonly retryAfterMs?: number | null;
  /** Absent: the one the client gave, or a new one. */
  readonly requestId?: string;
  /** Our span in the request's trace; absent: a new one where there is a trace. */
  readonly trace?: TraceContext | undefined;
}

/** Answers, with the headers that every answer has. */
export function send(
  request: IncomingMessage,
  response: ServerResponse,
  { status, type, body, retryAfterMs = null, requestId = requestIdOf(request), trace }: DirectAnswer,
): void {
  const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
  const headers = ['x-request-id', requestId, 'content-type', type, 'content-length', String(length)];
  if (retryAfterMs !== null) {
    headers.push('retry-after', String(retryAfterSeconds(retryAfterMs)));
    headers.push('retry-after-ms', String(Math.ceil(retryAfterMs)));
  }
  const span = trace ?? takeTrace(request.headers);
  if (span !== undefined) headers.push('traceparent', traceparentOf(span));
  response.writeHead(status, headers);
  response.end(body);
}
