import { createHash, randomUUID } from 'node:crypto';
import { Type } from 'typebox';
import {
  type AsyncPrediction,
  getAsyncPrediction,
  putAsyncPrediction,
  removeAsyncPrediction,
} from '../../db/async-predictions.ts';
import { getModel } from '../../db/registry.ts';
import { canonicalJson } from '../../domain/canonical-json.ts';
import { SerinError } from '../../domain/errors.ts';
import { echoTrace } from '../../platform/echo-trace.ts';
import { outgoingTrace } from '../../platform/trace-context.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { IdempotencyHeaders, temporalLink } from '../operations.ts';
import { answers, type Api, At, Body, Document, Maybe, Name } from '../route-schema.ts';

const INSTANCES_MAX = 1_000;
const KEEP_SECONDS = 86_400;
const KEEP_SECONDS_MAX = 7 * 86_400;

const View = Type.Object(
  {
    id: Type.String(),
    model: Type.String(),
    status: Type.Enum(['waiting', 'answered', 'failed']),
    predictions: Type.Optional(Document('As the predict route gives them, once it is answered.')),
    problem: Type.Optional(Document('Why it could not be answered: code, title, status, detail.')),
    askedAt: At,
    endedAt: Maybe(At),
    keptUntil: Maybe(At),
    callback: Maybe(
      Type.Object({
        url: Type.String(),
        deliveredAt: Maybe(At),
        failure: Maybe(Type.String({ description: 'Why the last attempt failed; it is tried for about a day.' })),
      }),
    ),
    links: Type.Object({ self: Type.String(), temporal: Type.String() }),
  },
  { description: 'A prediction, as far as it has come.' },
);

export function registerAsyncPredictionRoutes(api: Api, context: ApiContext): void {
  const { db, now } = context;

  api.post(
    '/models/:model/predictions',
    {
      config: may.feed,
      schema: {
        tags: ['scoring'],
        summary: 'Ask for predictions now and fetch them later, or have them delivered',
        description:
          'The inference tier is asked as over its predict route, and asked again until it answers. Without asOf in an instance the features are those of the moment when it is asked. A callback is signed as Standard Webhooks says, and repeated until it is taken.',
        params: Type.Object({ model: Name }),
        headers: IdempotencyHeaders,
        body: Body(
          {
            instances: Type.Array(Type.Object({}, { additionalProperties: true }), {
              minItems: 1,
              maxItems: INSTANCES_MAX,
            }),
            callback: Type.Optional(
              Type.Object(
                {
                  url: Type.String({ minLength: 8, maxLength: 2_048, pattern: '^https?://' }),
                  secret: Type.Optional(Type.String({ minLength: 16, maxLength: 256 })),
                },
                { additionalProperties: false },
              ),
            ),
            keepSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: KEEP_SECONDS_MAX, default: KEEP_SECONDS })),
          },
          {
            examples: [
              {
                instances: [{ origin: 'SEA', destination: 'SFO', distance: 679 }],
                callback: { url: 'https://example.com/hooks/predictions', secret: 'whsec_c2VjcmV0IGJ5dGVzIGhlcmU=' },
              },
            ],
          },
        ),
        response: answers({ 202: { description: 'It is asked; `links.self` says what comes of it.', schema: View } }, [
          'MODEL_NOT_FOUND',
          'TEMPORAL_UNAVAILABLE',
        ]),
      },
    },
    async (request, reply) => {
      const trace = echoTrace(request, reply);
      const { model } = request.params;
      const { instances, callback, keepSeconds = KEEP_SECONDS } = request.body;
      await getModel(db, model);
      if (callback !== undefined) refuseCallback(callback.url);
      const { principal } = request.principal;
      const key = request.headers['idempotency-key'];
      const id = key === undefined ? randomUUID() : digestOf([principal, model, key]).slice(0, 32);
      const asked = await putAsyncPrediction(db, {
        id,
        model,
        principal,
        request: { instances },
        requestDigest: digestOf({ instances, callback: callback ?? null, keepSeconds }),
        callback: callback === undefined ? null : { url: callback.url, secret: callback.secret ?? null },
        keepSeconds,
        askedAt: now(),
      });
      const workflowId = workflowIdOf(asked);
      request.workflowId = workflowId;
      try {
        await context.workflows.start({
          type: 'inferAsync',
          workflowId,
          input: {
            id,
            model,
            callback: callback !== undefined,
            keepSeconds,
            ...(trace && { trace: outgoingTrace(trace) }),
          },
          summary: `${model} predicts ${instances.length} later`,
          model,
          again: 'never',
          requestId: request.id,
        });
      } catch (error) {
        // nobody knows its id, so nobody would ever ask for it
        if (key === undefined) await removeAsyncPrediction(db, id);
        throw error;
      }
      return reply.code(202).send(viewOf(context, asked));
    },
  );

  api.get(
    '/async-predictions/:id',
    {
      config: may.read,
      schema: {
        tags: ['scoring'],
        summary: 'What has come of predictions that were asked for',
        params: Type.Object({ id: Type.String({ pattern: '^[0-9a-f-]{32,36}$' }) }),
        response: answers({ 200: { description: 'The predictions, or where they stand.', schema: View } }, [
          'NOT_FOUND',
        ]),
      },
    },
    async ({ params: { id } }) => viewOf(context, await getAsyncPrediction(db, id)),
  );
}

function viewOf(context: ApiContext, prediction: AsyncPrediction) {
  const { id, model, status, answer, askedAt, endedAt, keepSeconds, callback, deliveredAt, deliveryFailure } =
    prediction;
  return {
    id,
    model,
    status,
    ...(status === 'answered' && { predictions: (answer as { readonly predictions: unknown }).predictions }),
    ...(status === 'failed' && { problem: answer }),
    askedAt,
    endedAt,
    keptUntil: endedAt === null ? null : endedAt + keepSeconds * 1e6,
    callback: callback === null ? null : { url: callback.url, deliveredAt, failure: deliveryFailure },
    links: { self: `/v1/async-predictions/${id}`, temporal: temporalLink(context, workflowIdOf(prediction)) },
  };
}

/** Whether the address may be called is decided when it is. */
function refuseCallback(url: string): void {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed !== undefined && parsed.username === '' && parsed.password === '') return;
  throw new SerinError('INPUT_INVALID', 'callback.url must be an http or https URL without a user', {
    fields: { field: 'callback/url' },
  });
}

function workflowIdOf({ model, id }: Pick<AsyncPrediction, 'model' | 'id'>): string {
  return `predict/${model}/${id}`;
}

function digestOf(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex');
}
