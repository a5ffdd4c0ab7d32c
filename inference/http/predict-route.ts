import type { FastifyInstance } from 'fastify';
import { SerinError } from '../../domain/errors.ts';
import { formatTime } from '../../domain/features/time-text.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import type { Answer } from '../scoring/answer.ts';
import type { PredictWork } from '../scoring/predictor.ts';
import { readInstances } from './predict-request.ts';

export interface PredictDeps {
  readonly entryOf: (model: string) => RouteEntry | undefined;
  /** @throws SerinError `OVERLOADED` */
  readonly submit: (work: PredictWork) => void;
  readonly nowMicros: () => number;
}

interface PredictRoute {
  Params: { model: string };
  Querystring: { explain?: string };
}

/** `POST /v1/models/{model}/predict`: entity keys and request fields in; score, label and who answered out. */
export function registerPredictRoute(app: FastifyInstance, { entryOf, submit, nowMicros }: PredictDeps): void {
  app.post<PredictRoute>('/v1/models/:model/predict', async (request, reply) => {
    const arrivedMs = performance.now();
    const { model } = request.params;
    const explain = readExplain(request.query.explain);
    const entry = entryOf(model);
    if (!entry)
      throw new SerinError('MODEL_NOT_FOUND', `there is no model "${model}" here; see GET /v1/models`, {
        fields: { model },
      });
    const instances = readInstances(request.body, entry, nowMicros());
    const answers = await new Promise<readonly Answer[]>((resolve, reject) => {
      submit({ kind: 'predict', rows: instances.length, model, instances, arrivedMs, resolve, reject });
    });
    return reply.type('application/json; charset=utf-8').send(writeAnswers(model, answers, explain));
  });
}

function readExplain(explain: string | undefined): boolean {
  if (explain === undefined) return false;
  if (explain === 'features') return true;
  throw new SerinError('INPUT_INVALID', `explain is ${JSON.stringify(explain)}: only "features" is known`, {
    fields: { field: 'explain' },
  });
}

/** Written by hand: the shape is fixed, and a general serialiser costs more than the scoring. */
function writeAnswers(model: string, answers: readonly Answer[], explain: boolean): string {
  let text = `{"model":${JSON.stringify(model)},"predictions":[`;
  for (let i = 0; i < answers.length; i++) {
    const { instance, score, label, version, arm, rung, epoch } = answers[i]!;
    text +=
      `${i === 0 ? '' : ','}{"predictionId":${JSON.stringify(instance.predictionId)},"score":${score},"label":${label},` +
      `"version":${version},"arm":"${arm}","rung":"${rung}","epoch":${epoch},"asOf":"${formatTime(instance.asOf)}"` +
      `${explain ? `,"features":${writeFeatures(answers[i]!)}` : ''}}`;
  }
  return `${text}]}`;
}

function writeFeatures({ features, featureNames }: Answer): string {
  const members = featureNames.map((name, i) => [name, Number.isFinite(features[i]) ? features[i] : null]);
  return JSON.stringify(Object.fromEntries(members));
}
