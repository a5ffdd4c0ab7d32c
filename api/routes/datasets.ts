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
    '/datasets/:digest/diffs',
    {
      config: may.make,
      schema: {
        tags: ['datasets'],
        summary: 'How a dataset differs from an earlier one of the same plan, and by which events',
        params: Type.Object({ digest: Digest }),
        querystring: Waiting,
        body: Body({ before: Digest }, { examples: [{ before: '9f86d081' }] }),
        response: operationAnswers(['DATASET_NOT_FOUND', 'INPUT_INVALID']),
      },
    },
    async (request, reply) => {
      const before = (await getDataset(db, request.body.before)).digest;
      const { digest: after, model } = await getDataset(db, request.params.digest);
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'diffDatasets',
          // datasets do not change: the same question has the same answer
          workflowId: `dataset-diff/${before}/${after}`,
          input: { before, after },
          summary: `datasets ${before.slice(0, 12)} and ${after.slice(0, 12)}`,
          model,
          again: 'afterFailure',
        },
        request.query,
      );
    },
  );

  api.post(
    '/datasets/:digest/rebuilds',
    {
      config: may.make,
      schema: {
        tags: ['datasets'],
        summary: 'Build a dataset again from its manifest, to see whether it comes out the same',
        params: Type.Object({ digest: Digest }),
        headers: IdempotencyHeaders,
        querystring: Waiting,
        response: operationAnswers(['DATASET_NOT_FOUND', 'BLOB_NOT_FOUND']),
      },
    },
    async (request, reply) => {
      const { digest: dataset, model } = await getDataset(db, request.params.digest);
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'rebuildDataset',
          workflowId: `dataset-rebuild/${dataset}/${keyOf(request.headers)}`,
          input: { dataset },
          summary: `dataset ${dataset.slice(0, 12)} again`,
          model,
          again: 'afterFailure',
        },
        request.query,
      );
    },
  );

  api.post(
    '/datasets/:digest/explanations',
    {
      config: may.make,
      schema: {
        tags: ['datasets'],
        summary: 'The events behind each value of one row',
        params: Type.Object({ digest: Digest }),
        querystring: Waiting,
        body: Body(
          { row: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'its row_id' }) },
          { examples: [{ row: 41_207 }] },
        ),
        response: operationAnswers(['DATASET_NOT_FOUND', 'INPUT_INVALID']),
      },
    },
    async (request, reply) => {
      const { digest: dataset, model } = await getDataset(db, request.params.digest);
      const { row } = request.body;
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'explainRow',
          workflowId: `dataset-row/${dataset}/${row}`,
          input: { dataset, row },
          summary: `row ${row} of dataset ${dataset.slice(0, 12)}`,
          model,
          again: 'afterFailure',
        },
        request.query,
      );
    },
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
