import { type Selectable, sql } from 'kysely';
import { SerinError } from '../domain/errors.ts';
import type { ModelVersionManifest } from '../domain/registry/manifest.ts';
import type { Stage } from '../domain/registry/stages.ts';
import type { Db } from './database.ts';
import type { ModelVersionTable } from './schema.ts';

export interface ModelVersion {
  readonly model: string;
  readonly version: number;
  readonly kind: 'rule' | 'onnx';
  readonly manifest: ModelVersionManifest;
  readonly manifestSha256: string;
  readonly stage: Stage;
  readonly stageEpoch: number;
  readonly stageReason: string;
  readonly author: string;
  readonly runId: string | null;
  readonly registeredAt: number;
}

export interface Model {
  readonly name: string;
  readonly project: string;
  readonly projectDigest: string;
}

/** Declares a model or moves it to the project version that now declares it. */
export async function putModel(db: Db, { name, project, projectDigest }: Model): Promise<void> {
  await db
    .insertInto('model')
    .values({ name, project, project_digest: projectDigest })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ project, project_digest: projectDigest }))
    .execute();
}

export async function getModel(db: Db, name: string): Promise<Model> {
  const row = await db.selectFrom('model').selectAll().where('name', '=', name).executeTakeFirst();
  if (!row) throw new SerinError('MODEL_NOT_FOUND', `there is no model "${name}"; see: serin models`);
  return { name: row.name, project: row.project, projectDigest: row.project_digest };
}

export async function listModels(db: Db): Promise<Model[]> {
  const rows = await db.selectFrom('model').selectAll().orderBy('name').execute();
  return rows.map((row) => ({ name: row.name, project: row.project, projectDigest: row.project_digest }));
}

/** Registers the version that a run became; the same run always finds the same version. */
export async function registerVersion(
  tx: Db,
  { manifest, sha256, at }: { manifest: ModelVersionManifest; sha256: string; at: number },
): Promise<ModelVersion> {
  const existing = await tx
    .selectFrom('model_version')
    .selectAll()
    .where('model', '=', manifest.model)
    .where('run_id', '=', manifest.runId)
    .executeTakeFirst();
  return existing
    ? fromRow(existing)
    : insertVersion(tx, { manifest, sha256, stage: 'staging', reason: 'offline gates passed', at });
}

/** Version 0 goes straight to production: a model must answer something before its first rollout. */
export async function registerRule(
  db: Db,
  { manifest, sha256, at }: { manifest: ModelVersionManifest; sha256: string; at: number },
): Promise<void> {
  const existing = await findVersion(db, manifest.model, manifest.version);
  if (existing) {
    if (existing.manifestSha256 === sha256) return;
    await db
      .updateTable('model_version')
      .set({ manifest: JSON.stringify(manifest), manifest_sha256: sha256 })
      .where('model', '=', manifest.model)
      .where('version', '=', manifest.version)
      .execute();
    return;
  }
  await insertVersion(db, { manifest, sha256, stage: 'production', reason: 'rule baseline', at });
}

async function insertVersion(
  db: Db,
  {
    manifest,
    sha256,
    stage,
    reason,
    at,
  }: { manifest: ModelVersionManifest; sha256: string; stage: Stage; reason: string; at: number },
): Promise<ModelVersion> {
  const row = await db
    .insertInto('model_version')
    .values({
      model: manifest.model,
      version: manifest.version,
      kind: manifest.kind,
      manifest: JSON.stringify(manifest),
      manifest_sha256: sha256,
      stage,
      stage_reason: reason,
      author: manifest.author,
      run_id: manifest.runId,
      registered_at: at,
      stage_epoch: 0,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  return fromRow(row);
}

export async function findVersion(db: Db, model: string, version: number): Promise<ModelVersion | undefined> {
  const row = await db
    .selectFrom('model_version')
    .selectAll()
    .where('model', '=', model)
    .where('version', '=', version)
    .executeTakeFirst();
  return row && fromRow(row);
}

export async function getVersion(db: Db, model: string, version: number): Promise<ModelVersion> {
  const found = await findVersion(db, model, version);
  if (found) return found;
  await getModel(db, model);
  throw new SerinError(
    'VERSION_NOT_FOUND',
    `the model "${model}" has no version ${version}; see: serin models ${model}`,
  );
}

export async function listVersions(db: Db, model: string): Promise<ModelVersion[]> {
  const rows = await db.selectFrom('model_version').selectAll().where('model', '=', model).orderBy('version').execute();
  return rows.map(fromRow);
}

/**
 * Moves a version from one stage to another if it still stands where the caller saw it. The caller has asked
 * `domain/registry/stages.ts` whether the transition is allowed. Finding it already there for the same reason is a retry.
 */
export async function moveStage(
  db: Db,
  {
    model,
    version,
    from,
    to,
    expectedEpoch,
    reason,
  }: {
    model: string;
    version: number;
    from: Stage;
    to: Stage;
    expectedEpoch: number;
    reason: string;
  },
): Promise<{ stageEpoch: number }> {
  const row = await db
    .updateTable('model_version')
    .set({ stage: to, stage_epoch: sql<number>`stage_epoch + 1`, stage_reason: reason })
    .where('model', '=', model)
    .where('version', '=', version)
    .where('stage', '=', from)
    .where('stage_epoch', '=', expectedEpoch)
    .returning('stage_epoch')
    .executeTakeFirst();
  if (row) return { stageEpoch: row.stage_epoch };
  const standing = await getVersion(db, model, version);
  if (standing.stage === to && standing.stageEpoch === expectedEpoch + 1 && standing.stageReason === reason) {
    return { stageEpoch: standing.stageEpoch };
  }
  throw new SerinError(
    'STAGE_CONFLICT',
    `${model} v${version} is in ${standing.stage} (epoch ${standing.stageEpoch}), not in ${from} (epoch ${expectedEpoch}): it has moved on`,
  );
}

function fromRow(row: Selectable<ModelVersionTable>): ModelVersion {
  return {
    model: row.model,
    version: row.version,
    kind: row.kind,
    manifest: row.manifest,
    manifestSha256: row.manifest_sha256,
    stage: row.stage,
    stageEpoch: row.stage_epoch,
    stageReason: row.stage_reason,
    author: row.author,
    runId: row.run_id,
    registeredAt: row.registered_at,
  };
}
