import { randomUUID } from 'node:crypto';
import { Type } from 'typebox';
import { getForgetRequest, listProjectSpecs, putForgetRequest } from '../../db/forget-requests.ts';
import { getProject, listProjects } from '../../db/projects.ts';
import { SerinError } from '../../domain/errors.ts';
import { readEntityKey } from '../../domain/features/forgotten-keys.ts';
import type { EntitySpec } from '../../domain/project/spec.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { operationAnswers, startOperation, Waiting } from '../operations.ts';
import { answers, type Api, At, Body, Document, Key, Maybe, Reason, ProjectName, EntityName } from '../route-schema.ts';

const ForgetRequestView = Type.Object({
  id: Type.String(),
  project: Type.String(),
  entity: Type.String(),
  keyDigest: Type.String({ description: 'Salted; the key itself is kept until the work is done, and not shown.' }),
  reason: Type.String(),
  actor: Type.String(),
  requestedAt: At,
  finishedAt: Maybe(At),
  report: Document('Per place the rows removed and left (0); null before the end.'),
});

export function registerEntityRoutes(api: Api, context: ApiContext): void {
  const { db, now } = context;

  api.post(
    '/entities/:entity/forget',
    {
      config: may.remove,
      schema: {
        tags: ['entities'],
        summary: 'Remove one entity from every place, for good',
        description:
          'Log, buffer, quarantine, online store, logged predictions, files of datasets. Its key is blocked first, and a scan at the end finds nothing or fails the operation; sent again with the same requestId it goes on. The key is in no workflow history, and no longer in the database once it is done.',
        params: Type.Object({ entity: EntityName }),
        querystring: Waiting,
        body: Body(
          {
            project: Type.Optional(ProjectName),
            key: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean()])),
            reason: Reason,
            requestId: Type.Optional(Key),
          },
          { examples: [{ key: { customer: 'c-4711' }, reason: 'asked to be forgotten, ticket 815' }] },
        ),
        response: operationAnswers([
          'PROJECT_NOT_FOUND',
          'ENTITY_NOT_FOUND',
          'TIME_NO_ZONE',
          'TIME_INVALID',
          'TIME_PRECISION',
          'FORGET_INCOMPLETE',
          'STORAGE_FULL',
        ]),
      },
    },
    async (request, reply) => {
      const { entity: name } = request.params;
      const { key, reason, requestId: id = randomUUID().slice(0, 8) } = request.body;
      const { project, entity } = await findEntity(name, request.body.project);
      await putForgetRequest(db, {
        id,
        project,
        entity: name,
        key: readEntityKey(entity, key),
        reason,
        actor: request.principal.principal,
        requestedAt: now(),
      });
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'forgetEntity',
          workflowId: `forget/${id}`,
          input: { requestId: id },
          summary: `${project}: forget one ${name}`,
          again: 'afterFailure',
        },
        request.query,
      );
    },
  );

  api.get(
    '/forget-requests/:id',
    {
      config: may.read,
      schema: {
        tags: ['entities'],
        summary: 'A request to forget an entity, and what it has come to',
        params: Type.Object({ id: Key }),
        response: answers({ 200: { description: 'The request, without the key.', schema: ForgetRequestView } }, [
          'NOT_FOUND',
        ]),
      },
    },
    async ({ params: { id } }) => {
      const { key: _, removed: __, ...request } = await getForgetRequest(db, id);
      return request;
    },
  );

  /** By any version of a project: an entity that is no longer declared may lie in its logs. */
  async function findEntity(
    name: string,
    wanted: string | undefined,
  ): Promise<{ project: string; entity: EntitySpec }> {
    if (wanted !== undefined) await getProject(db, wanted);
    const projects = wanted === undefined ? (await listProjects(db)).map((each) => each.name) : [wanted];
    const found: { project: string; entity: EntitySpec }[] = [];
    for (const project of projects) {
      const specs = await listProjectSpecs(db, project);
      const entity = specs.flatMap(({ entities }) => entities).find((each) => each.name === name);
      if (entity !== undefined) found.push({ project, entity });
    }
    if (found.length > 1) {
      const which = found.map(({ project }) => project).join(', ');
      throw new SerinError('INPUT_INVALID', `"${name}" is an entity of several projects; say which: ${which}`);
    }
    if (found[0] === undefined) {
      throw new SerinError(
        'ENTITY_NOT_FOUND',
        `no ${wanted === undefined ? 'project' : `version of "${wanted}"`} declares an entity "${name}"`,
      );
    }
    return found[0];
  }
}
