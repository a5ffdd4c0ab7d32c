/** Requests to forget an entity, and the stored files that are to go because of them. */
import { createHash } from 'node:crypto';
import { type Selectable, sql } from 'kysely';
import { canonicalJson } from '../domain/canonical-json.ts';
import { SerinError } from '../domain/errors.ts';
import type { ForgetPlace, ForgetReport } from '../domain/features/forget-report.ts';
import type { ProjectSpec } from '../domain/project/spec.ts';
import type { Db } from './database.ts';
import { appendDecision } from './decisions.ts';
import { getForgetSalt } from './forgotten-keys.ts';
import type { ForgetRequestTable } from './schema.ts';

export type EntityKey = Readonly<Record<string, number | string | boolean>>;

export interface ForgetRequest {
  readonly id: string;
  readonly project: string;
  readonly entity: string;
  /** By part, instants in µs; null once it is done. */
  readonly key: EntityKey | null;
  readonly keyDigest: string;
  readonly reason: string;
  readonly actor: string;
  readonly requestedAt: number;
  readonly finishedAt: number | null;
  readonly report: ForgetReport | null;
  readonly removed: Readonly<Record<string, number>>;
}

/** Keeps a request; the same id again is the same request. @throws INPUT_INVALID when it was for another key */
export async function putForgetRequest(
  db: Db,
  request: Pick<ForgetRequest, 'id' | 'project' | 'entity' | 'reason' | 'actor' | 'requestedAt'> & { key: EntityKey },
): Promise<ForgetRequest> {
  const { id, project, entity, key, reason, actor, requestedAt } = request;
  const salt = await getForgetSalt(db);
  const keyDigest = createHash('sha256').update(canonicalJson({ salt, project, entity, key })).digest('hex');
  await db
    .insertInto('forget_request')
    .values({
      id,
      project,
      entity,
      key: JSON.stringify(key),
      key_digest: keyDigest,
      reason,
      actor,
      requested_at: requestedAt,
      finished_at: null,
      report: null,
    })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute();
  const standing = await getForgetRequest(db, id);
  if (standing.keyDigest !== keyDigest) {
    throw new SerinError('INPUT_INVALID', `the request "${id}" is for another key; give another Idempotency-Key`);
  }
  return standing;
}

export async function getForgetRequest(db: Db, id: string): Promise<ForgetRequest> {
  const row = await db.selectFrom('forget_request').selectAll().where('id', '=', id).executeTakeFirst();
  if (!row) throw new SerinError('NOT_FOUND', `there is no request to forget "${id}"`);
  return fromRow(row);
}

/** The project's specs, the one in force first: earlier ones say what lies in logs and datasets still. */
export async function listProjectSpecs(db: Db, project: string): Promise<ProjectSpec[]> {
  const rows = await db
    .selectFrom('project_version')
    .innerJoin('project', 'project.name', 'project_version.project')
    .select('spec')
    .where('project_version.project', '=', project)
    .orderBy(sql`project.digest = project_version.digest`, 'desc')
    .orderBy('applied_at', 'desc')
    .execute();
  if (rows.length === 0) {
    throw new SerinError('PROJECT_NOT_FOUND', `there is no project "${project}"; see: serin projects`);
  }
  return rows.map(({ spec }) => spec);
}

/** Counts what a transaction takes out. */
export async function addRemoved(tx: Db, requestId: string, place: ForgetPlace, rows: number): Promise<void> {
  if (rows === 0) return;
  await sql`
    update forget_request set removed =
      jsonb_set(removed, array[${place}], to_jsonb(coalesce((removed ->> ${place})::int8, 0) + ${rows}::int8))
    where id = ${requestId}`.execute(tx);
}

/** Says that a stored file is to go; belongs into the transaction that names another in its place. */
export async function doomBlob(tx: Db, requestId: string, sha256: string): Promise<void> {
  await tx
    .insertInto('forgotten_blob')
    .values({ sha256, request_id: requestId, removed_at: null })
    .onConflict((conflict) => conflict.column('sha256').doNothing())
    .execute();
}

/** Files of a request that are still there, and that nothing else names. */
export async function listDoomedBlobs(db: Db, requestId: string): Promise<string[]> {
  const { rows } = await sql<{ sha256: string }>`
    select b.sha256 from forgotten_blob b
    where b.request_id = ${requestId} and b.removed_at is null
      and not exists (select 1 from log_file f where f.file -> 'blob' ->> 'sha256' = b.sha256)
      and not exists (select 1 from retired_log_file f where f.sha256 = b.sha256)
      and not exists (select 1 from ingest_batch i where i.quarantine_sha256 = b.sha256)
      and not exists (select 1 from prediction_part p where p.file ->> 'sha256' = b.sha256)
      and not exists (select 1 from dataset d
        where coalesce(d.redacted -> 'file' ->> 'sha256', d.manifest -> 'file' ->> 'sha256') = b.sha256)
    order by b.sha256`.execute(db);
  return rows.map(({ sha256 }) => sha256);
}

export async function markBlobRemoved(db: Db, sha256: string, at: number): Promise<void> {
  await db.updateTable('forgotten_blob').set({ removed_at: at }).where('sha256', '=', sha256).execute();
}

/** Files of a request: those that are gone, and those that stay because something else has the same bytes. */
export async function countForgottenBlobs(db: Db, requestId: string): Promise<{ removed: number; standing: number }> {
  const { rows } = await sql<{ removed: number; standing: number }>`
    select count(removed_at)::int as removed, (count(*) - count(removed_at))::int as standing
    from forgotten_blob where request_id = ${requestId}`.execute(db);
  return rows[0]!;
}

/** Nobody takes files away until the transaction ends: what is named in it is either seen by the removal or refused here. */
export async function lockForgottenBlobs(tx: Db): Promise<void> {
  await sql`lock table forgotten_blob in share mode`.execute(tx);
}

/** Whether one of the files was taken away, or is about to be, because it held the key of a forgotten entity. */
export async function isAnyForgotten(db: Db, digests: readonly string[]): Promise<boolean> {
  if (digests.length === 0) return false;
  const found = await db
    .selectFrom('forgotten_blob')
    .select('sha256')
    .where('sha256', 'in', digests)
    .limit(1)
    .executeTakeFirst();
  return found !== undefined;
}

/** Stores the report, takes the key away, and says so in the chain. Finishing again changes nothing. */
export async function finishForgetRequest(
  tx: Db,
  request: ForgetRequest,
  { report, at }: { report: ForgetReport; at: number },
): Promise<void> {
  const finished = await tx
    .updateTable('forget_request')
    .set({ key: null, finished_at: at, report: JSON.stringify(report) })
    .where('id', '=', request.id)
    .where('finished_at', 'is', null)
    .executeTakeFirst();
  if (finished.numUpdatedRows === 0n) return;
  await appendDecision(tx, {
    subject: `entity/${request.project}/${request.entity}`,
    kind: 'forgotten',
    actor: request.actor,
    reason: request.reason,
    evidenceSha256: createHash('sha256').update(canonicalJson(report)).digest('hex'),
    payload: { requestId: request.id, keyDigest: request.keyDigest, report },
    idempotencyKey: `forget/${request.id}`,
    decidedAt: at,
  });
}

function fromRow(row: Selectable<ForgetRequestTable>): ForgetRequest {
  return {
    id: row.id,
    project: row.project,
    entity: row.entity,
    key: row.key,
    keyDigest: row.key_digest,
    reason: row.reason,
    actor: row.actor,
    requestedAt: row.requested_at,
    finishedAt: row.finished_at,
    report: row.report,
    removed: row.removed,
  };
}
