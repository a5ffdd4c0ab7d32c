/** `POST …/infer` in front of the framework (see ../http/direct-routes.ts). */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyBaseLogger } from 'fastify';
import { takeTrace } from '../../platform/trace-context.ts';
import { protocolRefusal } from '../admission/refusal.ts';
import { type DirectRoute, send } from '../http/direct-routes.ts';
import { encodeBody, encodingFor } from './content-encoding.ts';
import { MESSAGE_LIMIT_BYTES } from './describe.ts';
import { BINARY_TYPE, callInfer, errorAnswer, HEADER_LENGTH, type InferDeps, JSON_TYPE } from './infer-call.ts';
import type { InferResponse } from './infer-response.ts';

export function directInfer(deps: InferDeps, log: FastifyBaseLogger): DirectRoute {
  return {
    path: /^\/v2\/models\/([\w.-]+)(?:\/versions\/([\w.-]+))?\/infer$/,
    bodyLimitBytes: MESSAGE_LIMIT_BYTES,
    door: deps.door,
    refusal: { type: JSON_TYPE, write: protocolRefusal },
    answer: ({ request, response, path, ticket, body }) =>
      callInfer(deps, path[1]!, path[2], request, ticket, body).then((given) => sendTensors(request, response, given)),
    sendError(request, response, error) {
      const { unexpected, ...answer } = errorAnswer(error);
      if (unexpected) log.error({ err: error, traceId: takeTrace(request.headers)?.traceId }, 'inference failed');
      send(request, response, { ...answer, type: JSON_TYPE });
    },
  };
}

/** @returns undefined: it is sent */
function sendTensors(
  request: IncomingMessage,
  response: ServerResponse,
  { body, headerLength }: InferResponse,
): Promise<void> | undefined {
  const type = headerLength === null ? JSON_TYPE : BINARY_TYPE;
  const encoding = encodingFor(request.headers['accept-encoding'], body);
  if (encoding === undefined) {
    if (headerLength !== null) response.setHeader(HEADER_LENGTH, headerLength);
    send(request, response, { status: 200, type, body });
    return undefined;
  }
  // one that cannot be compressed (there is no memory for it) is an error that is told, without these headers
  return encodeBody(encoding, body).then((bytes) => {
    if (headerLength !== null) response.setHeader(HEADER_LENGTH, headerLength);
    response.setHeader('content-encoding', encoding);
    send(request, response, { status: 200, type, body: bytes });
  });
}
