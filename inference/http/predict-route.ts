import type { FastifyInstance } from 'fastify';
import { SerinError } from '../../domain/errors.ts';
import type { Door } from '../admission/admission.ts';
import type { CostBook } from '../admission/cost-book.ts';
import { doorHook, writeProblemRefusal } from '../admission/door-hook.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import type { Answer, Override } from '../scoring/answer.ts';
import type { OnlineReader } from '../scoring/feature-batch.ts';
import type { PredictWork } from '../scoring/predictor.ts';
import { echoTrace } from '../../platform/echo-trace.ts';
import { explainAnswers } from './explain-features.ts';
import { readInstances } from './predict-request.ts';
import { hasOverride, readOverride } from './read-override.ts';
import type { TesterAccess } from './tester-access.ts';
import { writeAnswers } from './write-answers.ts';

export interface PredictDeps {
  readonly entryOf: (model: string) => RouteEntry | undefined;
  readonly door: Door;
  /** What batches of each model cost. */
  readonly costs: CostBook;
  /** @throws SerinError `OVERLOADED` */
  readonly submit: (work: PredictWork) => void;
  readonly nowMicros: () => number;
  /** Where ages of features are read, for answers that are to be explained. */
  readonly store: OnlineReader;
  readonly testers: TesterAccess;
  /** Told how long an answer took to be written out. */
  readonly written: (model: string, seconds: number) => void;
}

interface PredictRoute {
  Params: { model: string };
  Querystring: { explain?: string };
}

/** `POST /v1/models/{model}/predict`: entity keys and request fields in; score, label and who answered out. */
export function registerPredictRoute(
  app: FastifyInstance,
  { entryOf, door, costs, submit, nowMicros, store, testers, written }: PredictDeps,
): void {
  const onRequest = doorHook(door, writeProblemRefusal);
  app.post<PredictRoute>('/v1/models/:model/predict', { onRequest }, async (request, reply) => {
    const { arrivedMs, deadlineMs, priority } = request;
    const { model } = request.params;
    const trace = echoTrace(request, reply);
    const explain = readExplain(request.query.explain);
    const entry = entryOf(model);
    if (!entry)
      throw new SerinError('MODEL_NOT_FOUND', `there is no model "${model}" here; see GET /v1/models`, {
        fields: { model },
      });
    let override: Override | undefined;
    if (hasOverride(request.headers)) {
      await testers.authorize(request.headers.authorization);
      override = readOverride(request.headers, entry);
    }
    const instances = readInstances(request.body, entry, nowMicros(), override);
    door.charge(request.raw, instances.length);
    const answers = await new Promise<readonly Answer[]>((resolve, reject) => {
      const rows = instances.length;
      const cost = costs.of(model);
      submit({
        kind: 'predict',
        rows,
        model,
        instances,
        arrivedMs,
        deadlineMs,
        priority,
        cost,
        trace,
        resolve,
        reject,
      });
    });
    const explanations = explain ? await explainAnswers(store, entry, answers) : null;
    const writingMs = performance.now();
    void reply.type('application/json; charset=utf-8').send(writeAnswers(model, answers, explanations));
    written(model, (performance.now() - writingMs) / 1e3);
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
