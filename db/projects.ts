import { type Selectable, sql } from 'kysely';
import { SerinError } from '../domain/errors.ts';
import type { ProjectSpec } from '../domain/project/spec.ts';
import type { Db } from './database.ts';
import type { ProjectVersionTable } from './schema.ts';

export interface ProjectVersion {
  readonly project: string;
  readonly digest: string;
  readonly spec: ProjectSpec;
  readonly appliedBy: string;
  readonly appliedAt: number;
}

/** Makes `digest` the current version of its project. Applying the same project twice changes nothing. */
export async function putProject(
  db: Db,
  {
    spec,
    digest,
    bundleSha256,
    by,
    at,
  }: { spec: ProjectSpec; digest: string; bundleSha256: string | null; by: string; at: number },
): Promise<{ created: boolean }> {
  const inserted = await db
    .insertInto('project_version')
    .values({
      project: spec.name,
      digest,
      spec: JSON.stringify(spec),
      bundle_sha256: bundleSha256,
      applied_by: by,
      applied_at: at,
    })
    .onConflict((conflict) => conflict.columns(['project', 'digest']).doNothing())
    .returning('digest')
    .executeTakeFirst();
  await db
    .insertInto('project')
    .values({ name: spec.name, digest, updated_at: at })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ digest, updated_at: at }))
    .execute();
  return { created: inserted !== undefined };
}

export async function listProjects(db: Db): Promise<{ name: string; digest: string; updatedAt: number }[]> {
  const rows = await db.selectFrom('project').selectAll().orderBy('name').execute();
  return rows.map((row) => ({ name: row.name, digest: row.digest, updatedAt: row.updated_at }));
}

export async function getProject(db: Db, name: string): Promise<ProjectVersion> {
  const row = await db
    .selectFrom('project')
    .innerJoin('project_version', (join) =>
      join.onRef('project_version.project', '=', 'project.name').onRef('project_version.digest', '=', 'project.digest'),
    )
    .selectAll('project_version')
    .where('project.name', '=', name)
    .executeTakeFirst();
  if (!row)
    throw new SerinError('PROJECT_NOT_FOUND', `there is no project "${name}"; apply one with: serin apply FILE`);
  return fromRow(row);
}

export async function getProjectVersion(db: Db, name: string, digest: string): Promise<ProjectVersion> {
  const row = await db
    .selectFrom('project_version')
    .selectAll()
    .where('project', '=', name)
    .where('digest', '=', digest)
    .executeTakeFirst();
  if (!row) throw new SerinError('PROJECT_NOT_FOUND', `there is no project "${name}" with digest ${digest}`);
  return fromRow(row);
}

/** The project whose current version declares `source`. */
export async function getProjectOfSource(db: Db, source: string): Promise<ProjectVersion> {
  const row = await db
    .selectFrom('project')
    .innerJoin('project_version', (join) =>
      join.onRef('project_version.project', '=', 'project.name').onRef('project_version.digest', '=', 'project.digest'),
    )
    .selectAll('project_version')
    .where(sql<boolean>`project_version.spec -> 'sources' @> ${JSON.stringify([{ name: source }])}::jsonb`)
    .executeTakeFirst();
  if (!row) throw new SerinError('SOURCE_NOT_FOUND', `no applied project declares a source "${source}"`);
  return fromRow(row);
}

function fromRow(row: Selectable<ProjectVersionTable>): ProjectVersion {
  return {
    project: row.project,
    digest: row.digest,
    spec: row.spec,
    appliedBy: row.applied_by,
    appliedAt: row.applied_at,
  };
}
