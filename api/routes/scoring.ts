import { createHash } from 'node:crypto';
import { isAbsolute } from 'node:path';
import { Type } from 'typebox';
import { getModel, getVersion } from '../../db/registry.ts';
import { canonicalJson } from '../../domain/canonical-json.ts';
import { SerinError } from '../../domain/errors.ts';
import type { ScoreInstants, ScoreRequest } from '../../domain/scoring/score-plan.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { operationAnswers, startOperation, Waiting } from '../operations.ts';
import { type Api, Body, Instant, Name, readInstant, Version } from '../route-schema.ts';

const PATH = { minLength: 1, maxLength: 4_096 };

export function registerScoringRoutes(api: Api, context: ApiContext): void {
  const { db } = context;

  api.post(
    '/models/:model/score-batches',
    {
      config: may.make,
      schema: {
        tags: ['scoring'],
        summary: 'Score Parquet files into a folder of Parquet files',
        description:
          'Paths are ones that the workers see. The rows have request fields and an instant, and their features are read from the log as of it; with featuresReady they have the features themselves. The folder is new or empty; the same request again finds its answer there.',
        params: Type.Object({ model: Name }),
        querystring: Waiting,
        body: Body(
          {
            input: Type.String({ ...PATH, description: 'A file, or a pattern of several.' }),
            output: Type.String({ ...PATH, description: 'A folder for the result.' }),
            version: Type.Optional(Version),
            asOfColumn: Type.Optional(
              Type.String({ minLength: 1, maxLength: 200, description: 'Instants of the rows.' }),
            ),
            asOf: Type.Optional(Instant),
            featuresReady: Type.Optional(Type.Boolean()),
          },
          {
            examples: [
              { input: '/data/flights-*.parquet', output: '/data/scores/2001-06-01', asOfColumn: 'scheduled_at' },
              { input: '/data/features.parquet', output: '/data/scores/ready', version: 2, featuresReady: true },
            ],
          },
        ),
        response: operationAnswers([
          'MODEL_NOT_FOUND',
          'VERSION_NOT_FOUND',
          'COLUMN_UNKNOWN',
          'COLUMN_TYPE',
          'OUTPUT_EXISTS',
          'INPUT_CHANGED',
          'MODEL_FILE_INVALID',
          'MEMORY_LIMIT',
          'STORAGE_FULL',
        ]),
      },
    },
    async (request, reply) => {
      const { model } = request.params;
      const { input, output, version, featuresReady = false } = request.body;
      for (const [field, path] of Object.entries({ input, output })) {
        if (!isAbsolute(path)) throw invalid(field, path, 'must be an absolute path, as the workers see it');
      }
      const asOf = instantsOf(request.body);
      if (asOf === undefined && !featuresReady)
        throw invalid(
          'asOfColumn',
          undefined,
          'asOfColumn or asOf must say when the features are as of (serin score: --as-of)',
        );
      if (version === undefined) await getModel(db, model);
      else await getVersion(db, model, version);
      const asked: ScoreRequest = {
        model,
        ...(version !== undefined && { version }),
        input,
        output,
        ...(asOf !== undefined && { asOf }),
        featuresReady,
      };
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'scoreBatch',
          workflowId: `score/${model}/${createHash('sha256').update(canonicalJson(asked)).digest('hex').slice(0, 16)}`,
          input: { request: asked },
          summary: `${model} scores ${input}`,
          model,
          ...(version !== undefined && { version }),
          // a folder that has been scored says so itself
          again: 'always',
        },
        request.query,
      );
    },
  );
}

function instantsOf({
  asOf,
  asOfColumn,
}: {
  readonly asOf?: string | number;
  readonly asOfColumn?: string;
}): ScoreInstants | undefined {
  if (asOf !== undefined && asOfColumn !== undefined)
    throw invalid('asOf', asOf, 'either asOf or asOfColumn, not both');
  if (asOfColumn !== undefined) return { kind: 'column', column: asOfColumn };
  return asOf === undefined ? undefined : { kind: 'fixed', at: readInstant(asOf, 'asOf') };
}

function invalid(field: string, value: unknown, rule: string): SerinError {
  return new SerinError('INPUT_INVALID', value === undefined ? rule : `${field} is ${JSON.stringify(value)}: ${rule}`, {
    fields: { field, rule },
  });
}
