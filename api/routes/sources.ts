import { Type } from 'typebox';
import { getAppliedSequence, getLastSequence, listBatches } from '../../db/ingest.ts';
import { listRefusedRecords } from '../../db/kafka.ts';
import { getProject, getProjectOfSource, listProjects } from '../../db/projects.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { operationAnswers, startOperation, Waiting } from '../operations.ts';
import { answers, type Api, At, Body, Document, Key, Maybe, SourceName } from '../route-schema.ts';
import { Reason } from './events.ts';

const Batch = Type.Object({
  source: Type.String(),
  batchId: Type.String(),
  inputSha256: Type.String(),
  firstSeq: Type.Integer(),
  lastSeq: Type.Integer(),
  rowsIn: Type.Integer(),
  rowsAccepted: Type.Integer(),
  quarantined: Document('Rows per reason.'),
  quarantineSha256: Maybe(Type.String({ description: 'The blob with the refused rows and their reasons.' })),
  ingestedAt: At,
});

const RefusedRecord = Type.Object({
  topic: Type.String(),
  partition: Type.Integer(),
  offset: Type.Integer(),
  reasons: Type.Array(Reason),
  value: Maybe(Type.String({ description: 'As it came, cut; null for a record without a value.' })),
  refusedAt: At,
});

export function registerSourceRoutes(api: Api, context: ApiContext): void {
  const { db } = context;

  api.get(
    '/sources',
    {
      config: may.read,
      schema: {
        tags: ['sources'],
        summary: 'The sources of all projects, and how far they have come',
        response: answers({
          200: {
            description: 'By project and name.',
            schema: Type.Object({
              sources: Type.Array(
                Type.Object({
                  name: Type.String(),
                  project: Type.String(),
                  description: Type.String(),
                  lastSeq: Type.Integer({ description: 'Of the newest event.' }),
                  appliedSeq: Maybe(
                    Type.Integer({ description: 'How far all online views have read; null when it feeds none.' }),
                  ),
                }),
              ),
            }),
          },
        }),
      },
    },
    async () => {
      const projects = await Promise.all((await listProjects(db)).map(({ name }) => getProject(db, name)));
      const sources = projects.flatMap(({ project, spec }) =>
        spec.sources.map(async ({ name, description }) => ({
          name,
          project,
          description,
          lastSeq: await getLastSequence(db, name),
          appliedSeq: (await getAppliedSequence(db, name)) ?? null,
        })),
      );
      return { sources: await Promise.all(sources) };
    },
  );

  api.get(
    '/sources/:source/batches',
    {
      config: may.read,
      schema: {
        tags: ['sources'],
        summary: 'The batches of a source, in the order of their arrival',
        params: Type.Object({ source: SourceName }),
        response: answers(
          { 200: { description: 'The batches.', schema: Type.Object({ batches: Type.Array(Batch) }) } },
          ['SOURCE_NOT_FOUND'],
        ),
      },
    },
    async ({ params: { source } }) => {
      await getProjectOfSource(db, source);
      return { batches: await listBatches(db, source) };
    },
  );

  api.post(
    '/sources/:source/batches',
    {
      config: may.make,
      schema: {
        tags: ['sources'],
        summary: 'Ingest a file as one batch',
        description:
          'The path is one that the workers see. The same batch with the same bytes changes nothing; with other bytes it is refused: corrected data is a new batch.',
        params: Type.Object({ source: SourceName }),
        querystring: Waiting,
        body: Body(
          {
            batchId: Key,
            path: Type.String({ minLength: 1, maxLength: 4_096 }),
            format: Type.Enum(['parquet', 'csv', 'jsonl']),
          },
          { examples: [{ batchId: '2001-01', path: '/data/flights-2001-01.parquet', format: 'parquet' }] },
        ),
        response: operationAnswers([
          'SOURCE_NOT_FOUND',
          'BATCH_CONFLICT',
          'COLUMN_UNKNOWN',
          'COLUMN_TYPE',
          'STORAGE_FULL',
        ]),
      },
    },
    async (request, reply) => {
      const { source } = request.params;
      const { batchId, path, format } = request.body;
      await getProjectOfSource(db, source);
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'ingestSource',
          workflowId: `ingest/${source}/${batchId}`,
          input: { source, batchId, input: { kind: 'file', path, format } },
          summary: `${source} ← ${batchId}`,
          // a batch that was ingested is looked at again: its bytes decide whether this is the same batch
          again: 'always',
        },
        request.query,
      );
    },
  );

  api.post(
    '/sources/:source/flush',
    {
      config: may.feed,
      schema: {
        tags: ['sources'],
        summary: 'Write the pushed events into the log',
        params: Type.Object({ source: SourceName }),
        querystring: Waiting,
        response: operationAnswers(['SOURCE_NOT_FOUND', 'STORAGE_FULL']),
      },
    },
    async (request, reply) => {
      const { source } = request.params;
      await getProjectOfSource(db, source);
      const upToSeq = await getLastSequence(db, source);
      const batchId = `pushed-${upToSeq}`;
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'ingestSource',
          workflowId: `ingest/${source}/${batchId}`,
          input: { source, batchId, input: { kind: 'pushed', upToSeq } },
          summary: `${source} ← pushed events up to ${upToSeq}`,
          again: 'afterFailure',
        },
        request.query,
      );
    },
  );

  api.post(
    '/sources/:source/compactions',
    {
      config: may.make,
      schema: {
        tags: ['sources'],
        summary: "Bring the small files of a source's log together",
        description:
          'Starts by itself after a batch when there are many. Rows, and the datasets made of them, stay as they are.',
        params: Type.Object({ source: SourceName }),
        querystring: Waiting,
        response: operationAnswers(['SOURCE_NOT_FOUND', 'STORAGE_FULL']),
      },
    },
    async (request, reply) => {
      const { source } = request.params;
      await getProjectOfSource(db, source);
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'compactLog',
          workflowId: `compact/${source}`,
          input: { source },
          summary: `${source}: compaction`,
          again: 'always',
        },
        request.query,
      );
    },
  );

  api.get(
    '/sources/:source/refused',
    {
      config: may.read,
      schema: {
        tags: ['sources'],
        summary: 'Kafka records that broke the contract of a source, the newest first',
        description:
          'The newest 10,000 of each partition are kept. Rows of files that were refused are in the quarantine file of their batch.',
        params: Type.Object({ source: SourceName }),
        querystring: Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 100 })) }),
        response: answers(
          {
            200: { description: 'The records.', schema: Type.Object({ records: Type.Array(RefusedRecord) }) },
          },
          ['SOURCE_NOT_FOUND'],
        ),
      },
    },
    async ({ params: { source }, query }) => {
      await getProjectOfSource(db, source);
      const records = await listRefusedRecords(db, source, query.limit ?? 100);
      return { records: records.map((record) => ({ ...record, reasons: [...record.reasons] })) };
    },
  );
}
