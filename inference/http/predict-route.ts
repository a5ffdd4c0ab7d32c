import type { FastifyInstance } from 'fastify';
import { SerinError } from '../../domain/errors.ts';
import { echoTrace } from '../../platform/echo-trace.ts';
import { doorHooks, writeProblemRefusal } from '../admission/door-hook.ts';
import { directPredict } from './direct-predict.ts';
import { installDirectRoute } from './direct-routes.ts';
import { callPredict, PREDICT_TYPE, type PredictDeps } from './predict-call.ts';

interface PredictRoute {
  Params: { model: string };
  Querystring: { explain?: string };
}

/** `POST /v1/models/{model}/predict`: entity keys and request fields in; score, label and who answered out. */
export function registerPredictRoute(app: FastifyInstance, deps: PredictDeps): void {
  installDirectRoute(app, directPredict(deps, app.log));
  const hooks = doorHooks(deps.door, writeProblemRefusal);
  app.post<PredictRoute>('/v1/models/:model/predict', hooks, async (request, reply) => {
    const { params, query, raw, body } = request;
    const trace = echoTrace(request, reply);
    const explain = readExplain(query.explain);
    const call = { model: params.model, request: raw, ticket: request, trace, explain, body };
    await callPredict(deps, call, (text) => void reply.type(PREDICT_TYPE).send(text));
    return reply;
  });
}

function readExplain(explain: string | undefined): boolean {
  if (explain === undefined) return false;
  if (explain === 'features') return true;
  throw new SerinError('INPUT_INVALID', `explain is ${JSON.stringify(explain)}: only "features" is known`, {
    fields: { field: 'explain' },
  });
}
