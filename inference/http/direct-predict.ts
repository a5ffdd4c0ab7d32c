/** `POST /v1/models/{model}/predict` in front of the framework (see direct-routes.ts). */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { answerError, PROBLEM_TYPE } from '../../platform/http-server.ts';
import type { FastifyBaseLogger } from 'fastify';
import { takeTrace } from '../../platform/trace-context.ts';
import { problemRefusal, statusOfRefusal } from '../admission/refusal.ts';
import { parseJson } from '../oip/infer-request.ts';
import { type DirectRoute, newTicket, readBody, requestIdOf, send } from './direct-routes.ts';
import { callPredict, PREDICT_TYPE, type PredictDeps } from './predict-call.ts';
import { BODY_LIMIT_BYTES } from './inference-app.ts';

/** As the framework says it. */
const PROBLEM = `${PROBLEM_TYPE}; charset=utf-8`;
const PREDICT_PATH = /^\/v1\/models\/([\w.-]+)\/predict$/;

export function directPredict(deps: PredictDeps, log: FastifyBaseLogger): DirectRoute {
  function sendError(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const requestId = requestIdOf(request);
    const asked = { id: requestId, url: request.url!, headers: request.headers };
    send(request, response, { ...answerError(error, asked, log), type: PROBLEM, requestId });
  }

  return {
    path: PREDICT_PATH,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    contentType: /^application\/json\b/,
    answer(request, response, path) {
      const model = path[1]!;
      const ticket = newTicket();
      try {
        const refused = deps.door.admit(ticket, request, model, performance.now());
        if (refused !== null) {
          // the body is not looked at; what of it has come, node drops
          const { retryAfterMs } = refused;
          const body = problemRefusal(refused, request.url!);
          send(request, response, { status: statusOfRefusal(refused), type: PROBLEM, body, retryAfterMs });
          return;
        }
      } catch (error) {
        sendError(request, response, error);
        return;
      }
      readBody(request, (bytes) => {
        let body: unknown;
        try {
          body = parseJson(bytes);
        } catch (error) {
          sendError(request, response, error);
          return;
        }
        const trace = request.headers['traceparent'] === undefined ? undefined : takeTrace(request.headers);
        const call = { model, request, ticket, trace, explain: false, body };
        const sendText = (text: string): void =>
          send(request, response, { status: 200, type: PREDICT_TYPE, body: text, trace });
        callPredict(deps, call, sendText).catch((error: unknown) => sendError(request, response, error));
      });
    },
  };
}
