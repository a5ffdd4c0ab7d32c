import { Type } from 'typebox';
import { getProject } from '../../db/projects.ts';
import { SerinError } from '../../domain/errors.ts';
import { versioned } from '../../domain/project/spec.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { IdempotencyHeaders, keyOf, operationAnswers, startOperation, Waiting } from '../operations.ts';
import { type Api, Body, Instant, Name, readInstant } from '../route-schema.ts';

export function registerFeatureRoutes(api: Api, context: ApiContext): void {
  api.post(
    '/features/materializations',
    {
      config: may.make,
      schema: {
        tags: ['features'],
        summary: 'Rebuild the online store from the log',
        headers: IdempotencyHeaders,
        querystring: Waiting,
        body: Body(
          {
            project: Name,
            views: Type.Optional(
              Type.Array(Type.String({ examples: ['origin_delays@1'] }), {
                minItems: 1,
                description: 'All when left out.',
              }),
            ),
            foldAt: Instant,
            keysPerSecond: Type.Optional(
              Type.Integer({
                minimum: 1,
                maximum: 10_000_000,
                description: 'Most keys of a view that are written in a second; as fast as it goes when left out.',
              }),
            ),
          },
          { examples: [{ project: 'flights', foldAt: '2001-06-01T00:00:00Z' }] },
        ),
        response: operationAnswers([
          'PROJECT_NOT_FOUND',
          'REFERENCE_MISSING',
          'TIME_NO_ZONE',
          'TIME_INVALID',
          'TIME_PRECISION',
        ]),
      },
    },
    async (request, reply) => {
      const { project, views, foldAt, keysPerSecond } = request.body;
      const { spec } = await getProject(context.db, project);
      const known = spec.views.map(versioned);
      const unknown = views?.find((view) => !known.includes(view));
      if (unknown !== undefined) {
        throw new SerinError(
          'REFERENCE_MISSING',
          `views has "${unknown}"; the project "${project}" has ${known.join(', ')}`,
          {
            fields: { field: 'body/views', value: unknown, known },
          },
        );
      }
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'materializeFeatures',
          workflowId: `materialize/${project}/${keyOf(request.headers)}`,
          input: {
            project,
            foldAt: readInstant(foldAt, 'body/foldAt'),
            ...(views !== undefined && { views }),
            ...(keysPerSecond !== undefined && { keysPerSecond }),
          },
          summary: `online features of ${project}`,
          again: 'afterFailure',
        },
        request.query,
      );
    },
  );
}
