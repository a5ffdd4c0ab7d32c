import { sql } from 'kysely';
import { SerinError } from '../domain/errors.ts';
import { planProject, type ProjectPlan } from '../domain/project/plan.ts';
import { type ProjectSpec, versioned } from '../domain/project/spec.ts';
import { type RegisteredVersion, type StoredState, usesOf } from '../domain/project/uses.ts';
import type { Stage } from '../domain/registry/stages.ts';
import type { Db } from './database.ts';

/** The current spec of a project; null: it was never applied. With `lock` nobody else applies it until the transaction ends. */
async function currentSpec(db: Db, name: string, { lock }: { lock: boolean }): Promise<ProjectSpec | null> {
  const query = db
    .selectFrom('project')
    .innerJoin('project_version', (join) =>
      join.onRef('project_version.project', '=', 'project.name').onRef('project_version.digest', '=', 'project.digest'),
    )
    .select('project_version.spec')
    .where('project.name', '=', name);
  const row = await (lock ? query.forUpdate('project') : query).executeTakeFirst();
  return row?.spec ?? null;
}

/** What applying `next` would change, and who stands in its way. */
export async function planApply(db: Db, next: ProjectSpec, { lock = false } = {}): Promise<ProjectPlan> {
  const current = await currentSpec(db, next.name, { lock });
  if (current === null) return planProject(null, next, []);
  const [versions, state] = await Promise.all([
    registeredVersions(db, next.name),
    storedState(db, {
      views: current.views.map(versioned),
      sources: current.sources.map(({ name }) => name),
    }),
  ]);
  return planProject(current, next, usesOf(versions, state, current, next));
}

/** @throws SerinError DEFINITION_IN_USE naming the definition, what changed, its users and the way out */
export function refusePlan({ changes }: ProjectPlan): void {
  const refused = changes.filter(({ effect }) => effect === 'breaking');
  const [first] = refused;
  if (first === undefined) return;
  const more = refused.length === 1 ? '' : `; and ${refused.length - 1} more: see serin plan`;
  throw new SerinError('DEFINITION_IN_USE', `${first.sentence}${more}`, {
    fields: { refused: refused.map(({ kind, id, usedBy, sentence }) => ({ kind, id, usedBy, sentence })) },
  });
}

/** Every version of a project's models, with the project it was registered with. */
export async function registeredVersions(db: Db, project: string): Promise<RegisteredVersion[]> {
  const rows = await db
    .selectFrom('model_version')
    .innerJoin('project_version', (join) =>
      join
        .on('project_version.project', '=', sql<string>`model_version.manifest ->> 'project'`)
        .on('project_version.digest', '=', sql<string>`model_version.manifest ->> 'projectDigest'`),
    )
    .leftJoin('route', 'route.model', 'model_version.model')
    .select([
      'model_version.model',
      'model_version.version',
      'model_version.kind',
      'model_version.stage',
      'project_version.digest',
      sql<string>`model_version.manifest ->> 'featureSet'`.as('feature_set'),
      sql<boolean>`coalesce(model_version.version in (route.champion, route.last_known_good, route.canary, route.shadow), false)`.as(
        'routed',
      ),
    ])
    .where('project_version.project', '=', project)
    .orderBy('model_version.model')
    .orderBy('model_version.version')
    .execute();
  const specs = await specsByDigest(db, project, [...new Set(rows.map(({ digest }) => digest))]);
  return rows.map(({ model, version, kind, stage, routed, feature_set, digest }) => ({
    model,
    version,
    kind,
    stage: stage satisfies Stage,
    routed,
    featureSet: feature_set,
    spec: specs.get(digest)!,
  }));
}

async function specsByDigest(
  db: Db,
  project: string,
  digests: readonly string[],
): Promise<ReadonlyMap<string, ProjectSpec>> {
  if (digests.length === 0) return new Map();
  const rows = await db
    .selectFrom('project_version')
    .select(['digest', 'spec'])
    .where('project', '=', project)
    .where('digest', 'in', digests)
    .execute();
  return new Map(rows.map(({ digest, spec }) => [digest, spec]));
}

async function storedState(
  db: Db,
  { views, sources }: { views: readonly string[]; sources: readonly string[] },
): Promise<StoredState> {
  const [online, logged] = await Promise.all([
    views.length === 0
      ? []
      : db
          .selectFrom('view_progress')
          .select('view_id')
          .where('view_id', 'in', views)
          .where('applied_seq', '>', 0)
          .execute(),
    sources.length === 0
      ? []
      : db
          .selectFrom('ingest_sequence')
          .select('source')
          .where('source', 'in', sources)
          .where('next_seq', '>', 1)
          .execute(),
  ]);
  return {
    onlineViews: online.map(({ view_id }) => view_id),
    loggedSources: logged.map(({ source }) => source),
  };
}
