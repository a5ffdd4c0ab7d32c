import { Type } from 'typebox';
import { getRun, listRunMetrics, listRuns } from '../../db/runs.ts';
import { SerinError } from '../../domain/errors.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { IdempotencyHeaders, keyOf, operationAnswers, startOperation, Waiting } from '../operations.ts';
import { readTraining } from '../read-training.ts';
import { answers, type Api, At, Body, Document, Limit, Maybe, Name } from '../route-schema.ts';

const RunSummary = Type.Object({
  runId: Type.String({ examples: ['flight-delay-boosted-1f0c9a2b'] }),
  project: Type.String(),
  model: Type.String(),
  training: Type.String(),
  status: Type.Enum(['running', 'gated', 'registered', 'failed']),
  author: Type.String(),
  dataset: Maybe(Type.String()),
  seed: Type.Integer(),
  verdict: Maybe(Type.String({ description: 'Of the gates.' })),
  number: Type.Integer({
    description: 'The version number it takes up, whether its gates let it become that version or not.',
  }),
  version: Maybe(Type.Integer({ description: 'The registered version.' })),
  failure: Maybe(Type.String()),
  startedAt: At,
  endedAt: Maybe(At),
});

export function registerRunRoutes(api: Api, context: ApiContext): void {
  const { db } = context;

  api.get(
    '/runs',
    {
      config: may.read,
      schema: {
        tags: ['runs'],
        summary: 'Training runs, newest first',
        querystring: Type.Object({ model: Type.Optional(Name), limit: Limit }),
        response: answers({
          200: {
            description: 'Without parameters and results.',
            schema: Type.Object({ runs: Type.Array(RunSummary) }),
          },
        }),
      },
    },
    async ({ query: { model, limit } }) => {
      const runs = await listRuns(db, { limit, ...(model !== undefined && { model }) });
      return {
        runs: runs.map(({ params: _, result: __, gateReport, ...run }) => ({
          ...run,
          verdict: gateReport?.verdict ?? null,
        })),
      };
    },
  );

  api.get(
    '/runs/:runId',
    {
      config: may.read,
      schema: {
        tags: ['runs'],
        summary: 'One run: parameters, metrics, evaluation, gate report',
        params: Type.Object({ runId: Type.String({ minLength: 1, maxLength: 200 }) }),
        response: answers(
          {
            200: {
              description: 'The run.',
              schema: Type.Object({
                ...RunSummary.properties,
                params: Document('What the run is about: project, digest, training.'),
                result: Document(
                  'Model file, evaluation, serving measurements, importance; null before there are any.',
                ),
                gateReport: Document('The verdict and one sentence per gate; null before the gates.'),
                metrics: Type.Array(Type.Object({ name: Type.String(), step: Type.Integer(), value: Type.Number() })),
              }),
            },
          },
          ['RUN_NOT_FOUND'],
        ),
      },
    },
    async ({ params: { runId } }) => {
      const [run, metrics] = await Promise.all([getRun(db, runId), listRunMetrics(db, runId)]);
      return { ...run, verdict: run.gateReport?.verdict ?? null, metrics };
    },
  );

  api.post(
    '/models/:model/runs',
    {
      config: may.make,
      schema: {
        tags: ['runs'],
        summary: 'Train: dataset, training, evaluation, gates, registration',
        params: Type.Object({ model: Name }),
        headers: IdempotencyHeaders,
        querystring: Waiting,
        body: Body({ training: Name }, { examples: [{ training: 'boosted' }] }),
        response: operationAnswers([
          'MODEL_NOT_FOUND',
          'TRAINING_INVALID',
          'DATASET_EMPTY',
          'MODEL_FILE_INVALID',
          'STORAGE_FULL',
        ]),
      },
    },
    async (request, reply) => {
      const { model } = request.params;
      const { training } = request.body;
      await readTraining(db, model, training);
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'trainModel',
          workflowId: `train/${model}/${training}/${keyOf(request.headers)}`,
          input: { model, training, author: request.principal.principal },
          summary: `train ${model} / ${training}`,
          model,
          again: 'afterFailure',
        },
        request.query,
      );
    },
  );

  api.post(
    '/models/:model/deliveries',
    {
      config: may.make,
      schema: {
        tags: ['runs'],
        summary: 'Train and deliver: from new data to a finished rollout',
        params: Type.Object({ model: Name }),
        headers: IdempotencyHeaders,
        querystring: Waiting,
        body: Body({ training: Name }, { examples: [{ training: 'boosted' }] }),
        response: operationAnswers(['MODEL_NOT_FOUND', 'TRAINING_INVALID', 'ROLLOUT_ACTIVE']),
      },
    },
    async (request, reply) => {
      const { model } = request.params;
      const { training } = request.body;
      await readTraining(db, model, training);
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'modelLifecycle',
          // the training is part of the id: a key that is used again for another one is another delivery
          workflowId: `lifecycle/${model}/${training}/${keyOf(request.headers)}`,
          input: { model, training, author: request.principal.principal },
          summary: `train and deliver ${model} / ${training}`,
          model,
          again: 'afterFailure',
        },
        request.query,
      );
    },
  );

  api.put(
    '/models/:model/schedule',
    {
      config: may.make,
      schema: {
        tags: ['runs'],
        summary: 'Train and deliver at regular times',
        description: 'Sets the one schedule of the model. A delivery that is still under way is not overtaken.',
        params: Type.Object({ model: Name }),
        body: Type.Object(
          {
            training: Name,
            everyMs: Type.Optional(Type.Integer({ minimum: 1_000, examples: [86_400_000] })),
            cron: Type.Optional(Type.String({ minLength: 1, maxLength: 100, examples: ['0 4 * * *'] })),
            paused: Type.Optional(Type.Boolean({ description: 'It stays, and starts nothing.' })),
          },
          { additionalProperties: false, examples: [{ training: 'boosted', cron: '0 4 * * *' }] },
        ),
        response: answers(
          {
            200: {
              description: 'The schedule.',
              schema: Type.Object({ scheduleId: Type.String(), created: Type.Boolean(), paused: Type.Boolean() }),
            },
          },
          ['MODEL_NOT_FOUND', 'TRAINING_INVALID', 'TEMPORAL_UNAVAILABLE'],
        ),
      },
    },
    async ({ params: { model }, body: { training, everyMs, cron, paused = false }, principal }) => {
      await readTraining(db, model, training);
      const set = await context.workflows.putSchedule({
        model,
        training,
        author: principal.principal,
        every: rhythmOf(everyMs, cron),
        paused,
      });
      return { ...set, paused };
    },
  );

  api.delete(
    '/models/:model/schedule',
    {
      config: may.make,
      schema: {
        tags: ['runs'],
        summary: 'Take the schedule away; what it started goes on',
        params: Type.Object({ model: Name }),
        response: answers(
          { 200: { description: 'Whether there was one.', schema: Type.Object({ deleted: Type.Boolean() }) } },
          ['TEMPORAL_UNAVAILABLE'],
        ),
      },
    },
    async ({ params: { model } }) => ({ deleted: await context.workflows.deleteSchedule(model) }),
  );
}

function rhythmOf(everyMs: number | undefined, cron: string | undefined): { everyMs: number } | { cron: string } {
  if (everyMs !== undefined && cron === undefined) return { everyMs };
  if (cron !== undefined && everyMs === undefined) return { cron };
  throw new SerinError('INPUT_INVALID', 'body must have one of everyMs and cron', {
    fields: { field: 'body', rule: 'one of everyMs, cron' },
  });
}
