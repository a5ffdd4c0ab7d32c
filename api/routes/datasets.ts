import { Type } from 'typebox';
import { getDataset, listDatasets } from '../../db/runs.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { IdempotencyHeaders, keyOf, operationAnswers, startOperation, Waiting } from '../operations.ts';
import { answers, type Api, At, Body, Digest, Document, Limit, Name } from '../route-schema.ts';
import { readTraining } from '../read-training.ts';

const Dataset = Type.Object({
  digest: Type.String(),
  project: Type.String(),
  model: Type.String(),
  featureSet: Type.String(),
  rows: Type.Integer(),
  createdAt: At,
});

export function registerDatasetRoutes(api: Api, context: ApiContext): void {
  const { db } = context;

  api.get(
    '/datasets',
    {
      config: may.read,
      schema: {
        tags: ['datasets'],
        summary: 'Datasets, newest first',
        querystring: Type.Object({ model: Type.Optional(Name), limit: Limit }),
        response: answers({
          200: { description: 'Without their manifests.', schema: Type.Object({ datasets: Type.Array(Dataset) }) },
        }),
      },
    },
    async ({ query: { model, limit } }) => {
      const datasets = await listDatasets(db, { limit, ...(model !== undefined && { model }) });
      return { datasets: datasets.map(({ manifest: _, ...dataset }) => dataset) };
    },
  );

  api.get(
    '/datasets/:digest',
    {
      config: may.read,
      schema: {
        tags: ['datasets'],
        summary: 'One dataset with its manifest',
        params: Type.Object({ digest: Digest }),
        response: answers(
          {
            200: {
              description: 'The dataset; the start of its digest is enough where it is unique.',
              schema: Type.Object({
                ...Dataset.properties,
                manifest: Document('Inputs, knowledge cut, splits, statistics, leakage findings.'),
              }),
            },
          },
          ['DATASET_NOT_FOUND'],
        ),
      },
    },
    async ({ params }) => getDataset(db, params.digest),
  );

  api.post(
    '/models/:model/datasets',
    {
      config: may.make,
      schema: {
        tags: ['datasets'],
        summary: 'Build the point-in-time dataset of a training',
        params: Type.Object({ model: Name }),
        headers: IdempotencyHeaders,
        querystring: Waiting,
        body: Body({ training: Name }, { examples: [{ training: 'boosted' }] }),
        response: operationAnswers(['MODEL_NOT_FOUND', 'TRAINING_INVALID', 'DATASET_EMPTY']),
      },
    },
    async (request, reply) => {
      const { model } = request.params;
      const { training } = request.body;
      const { project, projectDigest } = await readTraining(db, model, training);
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'buildDataset',
          workflowId: `dataset/${model}/${training}/${keyOf(request.headers)}`,
          input: { project, projectDigest, model, training },
          summary: `point-in-time dataset of ${model} / ${training}`,
          model,
          again: 'afterFailure',
        },
        request.query,
      );
    },
  );
}
