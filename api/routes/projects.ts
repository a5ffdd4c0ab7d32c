import { Type } from 'typebox';
import { applyProject } from '../../db/apply-project.ts';
import { getProject, listProjects } from '../../db/projects.ts';
import { SerinError } from '../../domain/errors.ts';
import { checkProjectSpec } from '../../domain/project/check.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { answers, type Api, At, Body, Document, Name } from '../route-schema.ts';

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
        params: Type.Object({ name: Name }),
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
          { examples: [{ spec: { format: 'serin.project/1', name: 'flights' } }] },
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
          [
            'SPEC_INVALID',
            'DUPLICATE_NAME',
            'REFERENCE_MISSING',
            'REFERENCE_CYCLE',
            'DEFINITION_IN_USE',
            'STORAGE_FULL',
          ],
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
