import { type Selectable, sql } from 'kysely';
import type { BlobRef } from '../domain/blob.ts';
import { SerinError } from '../domain/errors.ts';
import type { DatasetManifest } from '../domain/features/dataset-manifest.ts';
import type { GateReport } from '../domain/gates/gate-report.ts';
import type { Db } from './database.ts';
import type { DatasetTable, Redaction, RunStatus, RunTable } from './schema.ts';

export interface Run {
  readonly runId: string;
  readonly project: string;
  readonly model: string;
  readonly training: string;
  readonly status: RunStatus;
  readonly author: string;
  readonly dataset: string | null;
  readonly seed: number;
  readonly params: object;
  readonly result: object | null;
  readonly gateReport: GateReport | null;
  /** The version number it takes up: that of its version if its gates pass, and of nothing else if they do not. */
  readonly number: number;
  /** The registered version; null before, and for ever when a gate stopped the run. */
  readonly version: number | null;
  readonly failure: string | null;
  readonly startedAt: number;
  readonly endedAt: number | null;
}

/**
 * Opens a run and takes the model's next version number for it. The run id is the caller's key: opening it again finds the same
 * run with the same number. Belongs into a transaction.
 */
export async function openRun(
  tx: Db,
  run: Pick<Run, 'runId' | 'project' | 'model' | 'training' | 'author' | 'seed' | 'params' | 'startedAt'>,
): Promise<void> {
  const reopened = await tx
    .updateTable('run')
    .set({ status: 'running', failure: null, ended_at: null })
    .where('run_id', '=', run.runId)
    .returning('run_id')
    .executeTakeFirst();
  if (reopened) return;
  const taken = await tx
    .updateTable('model')
    .set({ next_version: sql<number>`next_version + 1` })
    .where('name', '=', run.model)
    .returning('next_version')
    .executeTakeFirst();
  if (!taken) throw new SerinError('MODEL_NOT_FOUND', `there is no model "${run.model}"; see: serin models`);
  await tx
    .insertInto('run')
    .values({
      run_id: run.runId,
      project: run.project,
      model: run.model,
      training: run.training,
      status: 'running',
      author: run.author,
      dataset: null,
      seed: run.seed,
      params: JSON.stringify(run.params),
      result: null,
      gate_report: null,
      number: taken.next_version - 1,
      version: null,
      failure: null,
      started_at: run.startedAt,
      ended_at: null,
    })
    .execute();
}

export interface RunChange {
  readonly status?: RunStatus;
  readonly dataset?: string;
  readonly result?: object;
  readonly gateReport?: GateReport;
  readonly version?: number;
  readonly failure?: string;
  readonly endedAt?: number;
}

export async function updateRun(db: Db, runId: string, change: RunChange): Promise<void> {
  await db
    .updateTable('run')
    .set({
      ...(change.status !== undefined && { status: change.status }),
      ...(change.dataset !== undefined && { dataset: change.dataset }),
      ...(change.result !== undefined && { result: JSON.stringify(change.result) }),
      ...(change.gateReport !== undefined && { gate_report: JSON.stringify(change.gateReport) }),
      ...(change.version !== undefined && { version: change.version }),
      ...(change.failure !== undefined && { failure: change.failure }),
      ...(change.endedAt !== undefined && { ended_at: change.endedAt }),
    })
    .where('run_id', '=', runId)
    .execute();
}

export async function getRun(db: Db, runId: string): Promise<Run> {
  const row = await db.selectFrom('run').selectAll().where('run_id', '=', runId).executeTakeFirst();
  if (!row) throw new SerinError('RUN_NOT_FOUND', `there is no run "${runId}"; see: serin runs`);
  return fromRow(row);
}

export async function listRuns(db: Db, { model, limit = 50 }: { model?: string; limit?: number } = {}): Promise<Run[]> {
  let query = db.selectFrom('run').selectAll().orderBy('started_at', 'desc').limit(limit);
  if (model !== undefined) query = query.where('model', '=', model);
  return (await query.execute()).map(fromRow);
}

/** Sets metrics by (name, step): a resumed training writes the same points again. */
export async function putRunMetrics(
  db: Db,
  runId: string,
  points: readonly { readonly name: string; readonly step: number; readonly value: number }[],
): Promise<void> {
  if (points.length === 0) return;
  await sql`
    insert into run_metric (run_id, name, step, value)
    select ${runId}, * from unnest(
      ${points.map((point) => point.name)}::text[], ${points.map((point) => point.step)}::int4[], ${points.map((point) => point.value)}::float8[])
    on conflict (run_id, name, step) do update set value = excluded.value`.execute(db);
}

export async function listRunMetrics(db: Db, runId: string): Promise<{ name: string; step: number; value: number }[]> {
  return db
    .selectFrom('run_metric')
    .select(['name', 'step', 'value'])
    .where('run_id', '=', runId)
    .orderBy('name')
    .orderBy('step')
    .execute();
}

export async function putDataset(
  db: Db,
  {
    digest,
    project,
    model,
    manifest,
    at,
  }: { digest: string; project: string; model: string; manifest: DatasetManifest; at: number },
): Promise<void> {
  await db
    .insertInto('dataset')
    .values({
      digest,
      project,
      model,
      feature_set: manifest.featureSet,
      manifest: JSON.stringify(manifest),
      rows: manifest.rows,
      created_at: at,
    })
    .onConflict((conflict) => conflict.column('digest').doNothing())
    .execute();
}

export interface Dataset {
  readonly digest: string;
  readonly project: string;
  readonly model: string;
  readonly featureSet: string;
  readonly rows: number;
  readonly manifest: DatasetManifest;
  /** The rows: what the manifest names, or what a removal of an entity has left of it. */
  readonly file: BlobRef;
  /** Set when an entity was removed from it, or from what it was made of; the manifest stays as it was. */
  readonly redacted: Redaction | null;
  readonly createdAt: number;
}

/** By the whole digest or by a prefix that only one dataset has. */
export async function getDataset(db: Db, digest: string): Promise<Dataset> {
  const rows = await db
    .selectFrom('dataset')
    .selectAll()
    .where(sql<boolean>`starts_with(digest, ${digest})`)
    .limit(2)
    .execute();
  const [row] = rows;
  if (!row || rows.length > 1) {
    throw new SerinError(
      'DATASET_NOT_FOUND',
      row
        ? `several datasets start with "${digest}"; give more of the digest`
        : `there is no dataset "${digest}"; see: serin dataset list`,
    );
  }
  return datasetFromRow(row);
}

/** Whether a dataset has its rows in this file. */
export async function isDatasetFile(db: Db, sha256: string): Promise<boolean> {
  const { rows } = await sql`
    select 1 from dataset where coalesce(redacted -> 'file' ->> 'sha256', manifest -> 'file' ->> 'sha256') = ${sha256} limit 1`.execute(
    db,
  );
  return rows.length > 0;
}

export async function listDatasets(
  db: Db,
  { model, limit = 50 }: { model?: string; limit?: number } = {},
): Promise<Dataset[]> {
  let query = db.selectFrom('dataset').selectAll().orderBy('created_at', 'desc').limit(limit);
  if (model !== undefined) query = query.where('model', '=', model);
  return (await query.execute()).map(datasetFromRow);
}

function datasetFromRow(row: Selectable<DatasetTable>): Dataset {
  return {
    digest: row.digest,
    project: row.project,
    model: row.model,
    featureSet: row.feature_set,
    rows: row.rows,
    manifest: row.manifest,
    file: row.redacted?.file ?? row.manifest.file,
    redacted: row.redacted,
    createdAt: row.created_at,
  };
}

function fromRow(row: Selectable<RunTable>): Run {
  return {
    runId: row.run_id,
    project: row.project,
    model: row.model,
    training: row.training,
    status: row.status,
    author: row.author,
    dataset: row.dataset,
    seed: row.seed,
    params: row.params,
    result: row.result,
    gateReport: row.gate_report,
    number: row.number,
    version: row.version,
    failure: row.failure,
    startedAt: row.started_at,
    endedAt: row.ended_at,
  };
}
