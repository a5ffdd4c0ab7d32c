import { Type } from 'typebox';
import { getProject } from '../../db/projects.ts';
import { listFreshness } from '../../db/view-freshness.ts';
import { SerinError } from '../../domain/errors.ts';
import { versioned } from '../../domain/project/spec.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { IdempotencyHeaders, keyOf, operationAnswers, startOperation, Waiting } from '../operations.ts';
import { answers, type Api, At, Body, Instant, readInstant, ProjectName } from '../route-schema.ts';

const Seconds = (description: string) => Type.Union([Type.Number(), Type.Null()], { description });

const Freshness = Type.Object({
  project: Type.String(),
  view: Type.String({ examples: ['origin_delays@1'] }),
  source: Type.String(),
  owner: Type.String(),
  slaSeconds: Type.Number({ description: 'How old the view may be: its own promise, or that of its source.' }),
  newestEventAt: Type.Union([At, Type.Null()], { description: 'The newest event in the view.' }),
  appliedSeq: Type.Integer({ description: 'The last event that is in the view.' }),
  dataAgeSeconds: Seconds('Data time: age of the newest event by the clock of those who push; null without events.'),
  waitingSeconds: Type.Number({
    description: 'Pipeline time: how long the oldest event waits that is not in the view yet; 0 when none does.',
  }),
  lastDelaySeconds: Seconds(
    'What the last batch took from being taken in to being readable; null when there was none.',
  ),
  breached: Type.Array(Type.Enum(['data', 'pipeline']), {
    description: 'The clocks on which the view is older than its SLA allows.',
  }),
});

export function registerFeatureRoutes(api: Api, context: ApiContext): void {
  api.get(
    '/features/freshness',
    {
      config: may.read,
      schema: {
        tags: ['features'],
        summary: 'How fresh the online views are, on two clocks',
        querystring: Type.Object({ project: Type.Optional(ProjectName) }),
        response: answers(
          { 200: { description: 'Every view in use.', schema: Type.Object({ views: Type.Array(Freshness) }) } },
          ['PROJECT_NOT_FOUND'],
        ),
      },
    },
    async ({ query: { project } }) => ({ views: await listFreshness(context.db, context.now(), project) }),
  );

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
            project: ProjectName,
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
