import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { findOutcome, putOutcomes } from '../../db/outcomes.ts';
import { listParts, listPartsWith } from '../../db/prediction-exports.ts';
import { listPredictions, type LoggedPrediction } from '../../db/predictions.ts';
import { getModel } from '../../db/registry.ts';
import { SerinError } from '../../domain/errors.ts';
import { partPath } from '../../domain/prediction-part.ts';
import type { FoundPrediction } from '../../workflows/messages.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { findOperation, IdempotencyHeaders, keyOf, operationAnswers, startOperation, Waiting } from '../operations.ts';
import { explainPrediction } from '../prediction-explanation.ts';
import { answers, type Api, At, Body, Document, Instant, Maybe, Name, readInstant } from '../route-schema.ts';

const OUTCOMES_MAX = 10_000;

export function registerPredictionRoutes(api: Api, context: ApiContext): void {
  const { db, blobs } = context;
  api.post(
    '/models/:model/outcomes',
    {
      config: may.feed,
      schema: {
        tags: ['predictions'],
        summary: 'Say what came of predictions',
        description:
          'The first outcome of a prediction counts; sending it again changes nothing. Outcomes of answers that were not logged are kept, too.',
        params: Type.Object({ model: Name }),
        body: Body(
          {
            outcomes: Type.Array(
              Type.Object(
                {
                  predictionId: Type.String({ minLength: 1, maxLength: 256 }),
                  value: Type.Enum([0, 1], { description: '1: it happened.' }),
                  observedAt: Instant,
                },
                { additionalProperties: false },
              ),
              { minItems: 1, maxItems: OUTCOMES_MAX },
            ),
          },
          { examples: [{ outcomes: [{ predictionId: '0190b2c4', value: 1, observedAt: '2001-06-01T09:10:00Z' }] }] },
        ),
        response: answers(
          {
            200: {
              description: 'How many came, how many were new.',
              schema: Type.Object({ received: Type.Integer(), added: Type.Integer() }),
            },
          },
          ['MODEL_NOT_FOUND', 'TIME_NO_ZONE', 'TIME_INVALID', 'TIME_PRECISION'],
        ),
      },
    },
    async ({ params: { model }, body: { outcomes } }) => {
      await getModel(db, model);
      const read = outcomes.map(({ predictionId, value, observedAt }, i) => ({
        predictionId,
        value,
        observedAt: readInstant(observedAt, `body/outcomes/${i}/observedAt`),
      }));
      return { received: read.length, added: await putOutcomes(db, model, read) };
    },
  );

  api.get(
    '/predictions/:predictionId',
    {
      config: may.read,
      schema: {
        tags: ['predictions'],
        summary: 'What was answered under an id, from what, and what came of it',
        description: 'Answers that are exported and no longer in the table are read from their Parquet file.',
        params: Type.Object({ predictionId: Type.String({ minLength: 1, maxLength: 256 }) }),
        response: answers(
          {
            200: {
              description: 'One answer, with a shadow two.',
              schema: Type.Object({
                predictionId: Type.String(),
                answers: Type.Array(
                  Document(
                    'Version, arm, rung, epoch, score, features, request, latency; `explanation`: the manifest, the threshold that decided, features by name, the rollout.',
                  ),
                ),
                outcome: Maybe(Type.Object({ value: Type.Number(), observedAt: At })),
                exported: Type.Boolean({ description: 'It was read from Parquet.' }),
              }),
            },
          },
          ['NOT_FOUND', 'TEMPORAL_UNAVAILABLE'],
        ),
      },
    },
    async (request, reply) => {
      const { predictionId } = request.params;
      const logged = await listPredictions(db, predictionId);
      const found = logged.length > 0 ? logged : await findExported(context, request, reply, predictionId);
      const [first] = found;
      if (first === undefined) {
        throw new SerinError(
          'NOT_FOUND',
          `no prediction "${predictionId}" is logged; of the champion's answers only a sample is`,
        );
      }
      return {
        predictionId,
        answers: await Promise.all(
          found.map(async (answer) => ({ ...answer, explanation: await explainPrediction(db, answer) })),
        ),
        outcome: (await findOutcome(db, first.model, predictionId)) ?? null,
        exported: logged.length === 0,
      };
    },
  );

  api.post(
    '/prediction-exports',
    {
      config: may.feed,
      schema: {
        tags: ['predictions'],
        summary: 'Write the prediction log into Parquet, and let the table forget what is there',
        description:
          'What is exported already is not exported again. With `drop` rows leave the table, but for those that a rollout under way may look at.',
        headers: IdempotencyHeaders,
        querystring: Waiting,
        body: Body(
          {
            models: Type.Optional(Type.Array(Name, { minItems: 1, maxItems: 500, description: 'Absent: all.' })),
            until: Type.Optional(Instant),
            drop: Type.Optional(Type.Boolean()),
          },
          { examples: [{ until: '2026-11-01T00:00:00Z', drop: true }] },
        ),
        response: operationAnswers(['TIME_NO_ZONE', 'TIME_INVALID', 'TIME_PRECISION']),
      },
    },
    async (request, reply) => {
      const { models, until, drop } = request.body;
      const input = {
        ...(models !== undefined && { models }),
        ...(until !== undefined && { until: readInstant(until, 'body/until') }),
        ...(drop !== undefined && { drop }),
      };
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'exportPredictions',
          workflowId: `prediction-export/${keyOf(request.headers)}`,
          input,
          summary: `the prediction log of ${models?.join(', ') ?? 'all models'} into Parquet`,
          again: 'afterFailure',
        },
        request.query,
      );
    },
  );

  api.get(
    '/prediction-exports',
    {
      config: may.read,
      schema: {
        tags: ['predictions'],
        summary: 'The Parquet files of the prediction log',
        querystring: Type.Object({ model: Type.Optional(Name) }),
        response: answers({
          200: {
            description: 'By model, day and range.',
            schema: Type.Object({
              files: Type.Array(
                Type.Object({
                  path: Type.String({ examples: ['model=flight-delay/date=2026-11-21/part-0.parquet'] }),
                  model: Type.String(),
                  day: Type.String(),
                  from: At,
                  to: At,
                  rows: Type.Integer(),
                  sha256: Type.String(),
                  bytes: Type.Integer(),
                }),
              ),
            }),
          },
        }),
      },
    },
    async ({ query: { model } }) => ({
      files: (await listParts(db, { model })).map((part) => ({
        path: partPath(part),
        model: part.model,
        day: part.day,
        from: part.from,
        to: part.to,
        rows: part.rows,
        sha256: part.file.sha256,
        bytes: part.file.bytes,
      })),
    }),
  );

  api.get(
    '/prediction-exports/:sha256',
    {
      config: may.read,
      schema: {
        tags: ['predictions'],
        summary: 'One of these files',
        params: Type.Object({ sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }) }),
        response: answers({}, ['BLOB_NOT_FOUND', 'BLOB_CORRUPT']),
      },
    },
    async ({ params: { sha256 } }, reply) => {
      // of the blob store only what this list names is given away
      if (!(await listParts(db)).some(({ file }) => file.sha256 === sha256))
        throw new SerinError('BLOB_NOT_FOUND', `no exported file has the digest ${sha256}`);
      const path = await blobs.localPath({ sha256 });
      return reply.type('application/vnd.apache.parquet').send(createReadStream(path));
    },
  );
}

/** Asks a worker, since the files are read with DuckDB. Nothing is started when no file can hold the id. */
async function findExported(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  predictionId: string,
): Promise<readonly LoggedPrediction[]> {
  if ((await listPartsWith(context.db, predictionId)).length === 0) return [];
  const workflowId = `find-prediction/${randomUUID()}`;
  request.workflowId = workflowId;
  await context.workflows.start({
    type: 'findPrediction',
    workflowId,
    input: { predictionId },
    summary: 'an exported prediction',
    again: 'always',
    requestId: request.id,
  });
  const { result, failure, status } = await findOperation(context, reply, workflowId, true);
  if (failure !== undefined) throw failure;
  if (status === 'running')
    throw new SerinError('TEMPORAL_UNAVAILABLE', `no worker has answered yet; see ${workflowId}`);
  return (result as FoundPrediction).answers as readonly LoggedPrediction[];
}
