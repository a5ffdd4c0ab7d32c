import { Type } from 'typebox';
import { applyProject } from '../../db/apply-project.ts';
import { planApply } from '../../db/project-plan.ts';
import { getProject, listProjects } from '../../db/projects.ts';
import { type ErrorCode, SerinError } from '../../domain/errors.ts';
import { checkProjectSpec } from '../../domain/project/check.ts';
import { PROJECT_FORMAT, type ProjectSpec } from '../../domain/project/spec.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { answers, type Api, At, Body, Document, ProjectName } from '../route-schema.ts';

/** What `checkProjectSpec` refuses. */
const SPEC_PROBLEMS: readonly ErrorCode[] = [
  'SPEC_INVALID',
  'DUPLICATE_NAME',
  'REFERENCE_MISSING',
  'REFERENCE_CYCLE',
  'BAD_DURATION',
  'NAME_CLASH',
  'BOUNDARY_MISMATCH',
  'KEY_TYPE_MISMATCH',
  'TRAINING_INVALID',
];

const Effect = Type.Enum(['added', 'removed', 'metadata', 'next-use', 'backfill', 'breaking'], {
  description:
    'metadata: nothing is computed otherwise; next-use: holds for the next event, dataset, training or rollout; ' +
    'backfill: what was computed is computed otherwise; breaking: refused, since somebody uses it.',
});
const Plan = Type.Object({
  project: Type.String(),
  isNew: Type.Boolean({ description: 'It was never applied before.' }),
  refused: Type.Boolean({ description: 'Apply refuses it: some change is breaking.' }),
  changes: Type.Array(
    Type.Object({
      kind: Type.Enum(['source', 'entity', 'view', 'featureSet', 'spine', 'label', 'model']),
      id: Type.String({ examples: ['route_delays@1'] }),
      effect: Effect,
      details: Type.Array(Type.String(), { examples: [['feature mean_delay: window 7d: length 7d → 14d']] }),
      usedBy: Type.Array(Type.String(), { examples: [['flight-delay v2 (production)']] }),
      sentence: Type.String(),
    }),
  ),
  backfill: Type.Array(Type.String(), { description: 'Views to materialise after the apply.' }),
});

/** The least that is a project, for examples: it is taken as it is. */
const emptySpec = (name: string): ProjectSpec => ({
  format: PROJECT_FORMAT,
  name,
  description: 'Will this flight be late?',
  sources: [],
  entities: [],
  views: [],
  spines: [],
  labels: [],
  featureSets: [],
  models: [],
});

export function registerProjectRoutes(api: Api, { db, blobs, now }: ApiContext): void {
  api.get(
    '/projects',
    {
      config: may.read,
      schema: {
        tags: ['projects'],
        summary: 'The applied projects',
        response: answers({
          200: {
            description: 'By name.',
            schema: Type.Object({
              projects: Type.Array(Type.Object({ name: Type.String(), digest: Type.String(), updatedAt: At })),
            }),
          },
        }),
      },
    },
    async () => ({ projects: await listProjects(db) }),
  );

  api.get(
    '/projects/:name',
    {
      config: may.read,
      schema: {
        tags: ['projects'],
        summary: 'The current version of a project',
        params: Type.Object({ name: ProjectName }),
        response: answers(
          {
            200: {
              description: 'The project.',
              schema: Type.Object({
                project: Type.String(),
                digest: Type.String(),
                spec: Document('The project spec (format serin.project/1).'),
                appliedBy: Type.String(),
                appliedAt: At,
              }),
            },
          },
          ['PROJECT_NOT_FOUND'],
        ),
      },
    },
    async ({ params }) => getProject(db, params.name),
  );

  api.post(
    '/projects/:name/plan',
    {
      config: may.read,
      schema: {
        tags: ['projects'],
        summary: 'What applying a project would change; nothing is changed',
        params: Type.Object({ name: ProjectName }),
        body: Body(
          { spec: Document('The project spec (format serin.project/1), as `serin plan` makes it.') },
          { examples: [{ spec: emptySpec('flights') }] },
        ),
        response: answers(
          { 200: { description: 'Definition by definition, a sentence each.', schema: Plan } },
          SPEC_PROBLEMS,
        ),
      },
    },
    async ({ params, body }) => {
      const spec = checkProjectSpec(body.spec);
      if (spec.name !== params.name) {
        throw new SerinError(
          'INPUT_INVALID',
          `body/spec is the project "${spec.name}", the path says "${params.name}"`,
          {
            fields: { field: 'body/spec/name', value: spec.name, rule: 'the project of the path' },
          },
        );
      }
      await refuseForeignNames(
        spec.name,
        spec.sources.map(({ name }) => name),
      );
      return planApply(db, spec);
    },
  );

  api.post(
    '/projects',
    {
      config: may.make,
      schema: {
        tags: ['projects'],
        summary: 'Apply a project: all of it or nothing',
        body: Body(
          {
            spec: Document('The project spec (format serin.project/1), as `serin apply` makes it.'),
            bundle: Type.Optional(
              Type.String({ description: 'The code that made it, base64.', pattern: '^[A-Za-z0-9+/]*={0,2}$' }),
            ),
          },
          { examples: [{ spec: emptySpec('example') }] },
        ),
        response: answers(
          {
            200: {
              description: 'Applied before: nothing changed but what is current.',
              schema: Type.Object({
                project: Type.String(),
                digest: Type.String(),
                created: Type.Boolean(),
                models: Type.Array(Type.String()),
              }),
            },
            201: {
              description: 'A new version of the project.',
              schema: Type.Object({
                project: Type.String(),
                digest: Type.String(),
                created: Type.Boolean(),
                models: Type.Array(Type.String()),
              }),
            },
          },
          [...SPEC_PROBLEMS, 'DEFINITION_IN_USE', 'STORAGE_FULL'],
        ),
      },
    },
    async ({ body, principal }, reply) => {
      const spec = checkProjectSpec(body.spec);
      await refuseForeignNames(
        spec.name,
        spec.sources.map(({ name }) => name),
      );
      const bundle = body.bundle === undefined ? null : await blobs.put(Buffer.from(body.bundle, 'base64'));
      const { digest, created } = await applyProject(db, {
        spec,
        bundleSha256: bundle?.sha256 ?? null,
        by: principal.principal,
        at: now(),
      });
      return reply
        .code(created ? 201 : 200)
        .send({ project: spec.name, digest, created, models: spec.models.map(({ name }) => name) });
    },
  );

  /** Sources are addressed by name alone, so a name belongs to one project. */
  async function refuseForeignNames(project: string, sources: readonly string[]): Promise<void> {
    for (const { name } of await listProjects(db)) {
      if (name === project) continue;
      const { spec } = await getProject(db, name);
      const taken = spec.sources.find((source) => sources.includes(source.name));
      if (taken !== undefined) {
        throw new SerinError(
          'DUPLICATE_NAME',
          `sources.${taken.name}: the project "${name}" has a source of this name; choose another`,
          {
            fields: { field: `sources.${taken.name}`, value: taken.name, rule: 'one project per source name' },
          },
        );
      }
    }
  }
}
