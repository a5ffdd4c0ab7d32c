import { Type } from 'typebox';
import { findOutcome, putOutcomes } from '../../db/outcomes.ts';
import { listPredictions } from '../../db/predictions.ts';
import { getModel } from '../../db/registry.ts';
import { SerinError } from '../../domain/errors.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { answers, type Api, At, Body, Document, Instant, Maybe, Name, readInstant } from '../route-schema.ts';

const OUTCOMES_MAX = 10_000;

export function registerPredictionRoutes(api: Api, { db }: ApiContext): void {
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
        summary: 'What was answered under an id, and what came of it',
        params: Type.Object({ predictionId: Type.String({ minLength: 1, maxLength: 256 }) }),
        response: answers(
          {
            200: {
              description: 'One answer, with a shadow two.',
              schema: Type.Object({
                predictionId: Type.String(),
                answers: Type.Array(Document('Version, arm, rung, epoch, score, features, request, latency.')),
                outcome: Maybe(Type.Object({ value: Type.Number(), observedAt: At })),
              }),
            },
          },
          ['NOT_FOUND'],
        ),
      },
    },
    async ({ params: { predictionId } }) => {
      const logged = await listPredictions(db, predictionId);
      const [first] = logged;
      if (first === undefined) {
        throw new SerinError(
          'NOT_FOUND',
          `no prediction "${predictionId}" is logged; of the champion's answers only a sample is`,
        );
      }
      return { predictionId, answers: logged, outcome: (await findOutcome(db, first.model, predictionId)) ?? null };
    },
  );
}
