/** `POST …/infer` in front of the framework (see ../http/direct-routes.ts). */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type DirectRoute, newTicket, readBody, send } from '../http/direct-routes.ts';
import type { FastifyBaseLogger } from 'fastify';
import { takeTrace } from '../../platform/trace-context.ts';
import { protocolRefusal, statusOfRefusal } from '../admission/refusal.ts';
import { encodeBody, encodingFor } from './content-encoding.ts';
import { MESSAGE_LIMIT_BYTES } from './describe.ts';
import { BINARY_TYPE, callInfer, errorAnswer, HEADER_LENGTH, type InferDeps, JSON_TYPE } from './infer-call.ts';
import type { InferResponse } from './infer-response.ts';

const INFER_PATH = /^\/v2\/models\/([\w.-]+)(?:\/versions\/([\w.-]+))?\/infer$/;

export function directInfer(deps: InferDeps, log: FastifyBaseLogger): DirectRoute {
  function sendError(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const { unexpected, ...answer } = errorAnswer(error);
    if (unexpected) log.error({ err: error, traceId: takeTrace(request.headers)?.traceId }, 'inference failed');
    send(request, response, { ...answer, type: JSON_TYPE });
  }

  return {
    path: INFER_PATH,
    bodyLimitBytes: MESSAGE_LIMIT_BYTES,
    answer(request, response, [, model, version]) {
      const ticket = newTicket();
      try {
        const refused = deps.door.admit(ticket, request, model!, performance.now());
        if (refused !== null) {
          // the body is not looked at; what of it has come, node drops
          const { retryAfterMs } = refused;
          const body = protocolRefusal(refused);
          send(request, response, { status: statusOfRefusal(refused), type: JSON_TYPE, body, retryAfterMs });
          return;
        }
      } catch (error) {
        sendError(request, response, error);
        return;
      }
      readBody(request, (body) => {
        callInfer(deps, model!, version, request, ticket, body).then(
          (given) => sendTensors(request, response, given),
          (error: unknown) => sendError(request, response, error),
        );
      });
    },
  };
}

function sendTensors(request: IncomingMessage, response: ServerResponse, { body, headerLength }: InferResponse): void {
  const type = headerLength === null ? JSON_TYPE : BINARY_TYPE;
  if (headerLength !== null) response.setHeader(HEADER_LENGTH, headerLength);
  const encoding = encodingFor(request.headers['accept-encoding'], body);
  if (encoding === undefined) {
    send(request, response, { status: 200, type, body });
    return;
  }
  response.setHeader('content-encoding', encoding);
  void encodeBody(encoding, body).then((bytes) => send(request, response, { status: 200, type, body: bytes }));
}
