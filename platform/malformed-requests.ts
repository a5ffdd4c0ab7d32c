/** What never becomes a request that a route could answer: no HTTP, too large a head, an address that cannot be decoded, too slow. */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { ERRORS } from '../domain/errors.ts';

export const PROBLEM_TYPE = 'application/problem+json';

/**
 * Answers what Node could not parse, or gave up waiting for, and closes the connection. Where an earlier request of the
 * connection still waits for its answer there is none: it would be taken for the answer to that request.
 */
export function answerMalformed(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  if (!socket.writable || isAnswering(socket)) {
    socket.destroy();
    return;
  }
  const [status, reason, rule] = refusalOf(error);
  const body = bodyOf(status, rule, '');
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\ncontent-type: ${PROBLEM_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

/** For what Fastify refuses before it knows the route. */
export function answerUnroutable(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const status = error.statusCode ?? 400;
  void reply
    .code(status)
    .type(PROBLEM_TYPE)
    .send(bodyOf(status, error.message, request.url));
}

/** A problem whose detail is also its `error`, as clients of the Open Inference Protocol read it: which of the two asked is not known. */
function bodyOf(status: number, detail: string, instance: string): string {
  const { title } = ERRORS.INPUT_INVALID;
  const code = 'INPUT_INVALID';
  return JSON.stringify({ type: `urn:serin:error:${code}`, title, status, code, detail, instance, error: detail });
}

/** Whether the connection carries a request that has arrived in full and is not answered yet. Node documents no other way to know. */
function isAnswering(socket: Socket): boolean {
  const response = (socket as { _httpMessage?: { req?: IncomingMessage; headersSent?: boolean } | null })._httpMessage;
  return response?.headersSent === true || response?.req?.complete === true;
}

function refusalOf({
  code,
  message,
}: {
  code?: string;
  message: string;
}): [status: number, reason: string, rule: string] {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return [408, 'Request Timeout', 'the request did not arrive in time'];
    case 'HPE_HEADER_OVERFLOW':
      return [431, 'Request Header Fields Too Large', 'the request line and headers are larger than 16 KiB'];
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return [413, 'Payload Too Large', 'the chunk extensions are larger than 16 KiB'];
    default:
      return [400, 'Bad Request', `this is no HTTP/1.1 request: ${message.replace(/^Parse Error: /, '')}`];
  }
}
