/** `POST /v1/models/{model}/predict` in front of the framework (see direct-routes.ts). */
import type { FastifyBaseLogger } from 'fastify';
import { answerError, PROBLEM_TYPE } from '../../platform/http-server.ts';
import { takeTrace } from '../../platform/trace-context.ts';
import { problemRefusal } from '../admission/refusal.ts';
import { parseJson } from '../oip/infer-request.ts';
import { type DirectRoute, requestIdOf, send } from './direct-routes.ts';
import { BODY_LIMIT_BYTES } from './inference-app.ts';
import { callPredict, PREDICT_TYPE, type PredictDeps } from './predict-call.ts';

/** As the framework says it. */
const PROBLEM = `${PROBLEM_TYPE}; charset=utf-8`;

export function directPredict(deps: PredictDeps, log: FastifyBaseLogger): DirectRoute {
  return {
    path: /^\/v1\/models\/([\w.-]+)\/predict$/,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    contentType: /^application\/json\b/,
    door: deps.door,
    refusal: { type: PROBLEM, write: problemRefusal },
    answer({ request, response, path, ticket, body }) {
      const trace = takeTrace(request.headers);
      const call = { model: path[1]!, request, ticket, trace, explain: false, body: parseJson(body) };
      return callPredict(deps, call, (text) =>
        send(request, response, { status: 200, type: PREDICT_TYPE, body: text, trace }),
      );
    },
    sendError(request, response, error) {
      const requestId = requestIdOf(request);
      const asked = { id: requestId, url: request.url!, headers: request.headers };
      send(request, response, { ...answerError(error, asked, log), type: PROBLEM, requestId });
    },
  };
}
