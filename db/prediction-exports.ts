/** What of the prediction log lies in Parquet: ranges of recording without gaps or overlaps, and the files that hold them. */
import { type Selectable, sql } from 'kysely';
import type { BlobRef } from '../domain/blob.ts';
import type { Db } from './database.ts';
import { doomBlob, addRemoved } from './forget-requests.ts';
import { fromPredictionRow, type LoggedPrediction } from './predictions.ts';
import type { PredictionPartTable } from './schema.ts';

/** A stretch `[from, to)` of the database's clock at which rows came in. */
export interface RecordedRange {
  readonly from: number;
  readonly to: number;
}

export interface PredictionPart extends RecordedRange {
  readonly model: string;
  /** UTC day of the answers: `2026-11-21`. */
  readonly day: string;
  readonly rows: number;
  readonly firstId: string;
  readonly lastId: string;
  readonly file: BlobRef;
  readonly exportedAt: number;
}

export interface RecordedPrediction extends LoggedPrediction {
  readonly recordedAt: number;
}

/** Writers of the log are many and short; one that hangs must not hold them all up behind us. */
const LOCK_WAIT = '5s';

/**
 * An instant before which no row will come in any more: whoever was writing has finished, and whoever writes afterwards is stamped
 * later. Writers wait for the moment this takes.
 */
export async function settleLog(db: Db): Promise<number> {
  return db.transaction().execute(async (tx) => {
    const { rows } = await sql<{ at: number }>`
      select (extract(epoch from clock_timestamp()) * 1000000)::int8 as at`.execute(tx);
    await sql`set local lock_timeout = ${sql.lit(LOCK_WAIT)}`.execute(tx);
    await sql`lock table prediction in share mode`.execute(tx);
    return rows[0]!.at;
  });
}

/** Up to where a model's log is exported; 0: nothing is. */
export async function exportedTo(db: Db, model: string): Promise<number> {
  const row = await db
    .selectFrom('prediction_export')
    .select('exported_to')
    .where('model', '=', model)
    .executeTakeFirst();
  return row?.exported_to ?? 0;
}

/** Models with anything logged, exported or not. */
export async function listLoggedModels(db: Db): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select name from model m where exists (select from prediction p where p.model = m.name)
      or exists (select from prediction_export e where e.model = m.name) order by name`.execute(db);
  return rows.map(({ name }) => name);
}

/**
 * The next rows to export: those of `[from, until)`, but no more than about `limit` of them; the range ends behind the last one.
 * Rows of one microsecond stay together.
 */
export async function readUnexported(
  db: Db,
  { model, from, until, limit }: { model: string; from: number; until: number; limit: number },
): Promise<{ range: RecordedRange; rows: readonly RecordedPrediction[] }> {
  const beyond = await db
    .selectFrom('prediction')
    .select('recorded_at')
    .where('model', '=', model)
    .where('recorded_at', '>=', from)
    .where('recorded_at', '<', until)
    .orderBy('recorded_at')
    .offset(limit)
    .limit(1)
    .executeTakeFirst();
  const to = beyond === undefined ? until : beyond.recorded_at + 1;
  const rows = await db
    .selectFrom('prediction')
    .selectAll()
    .where('model', '=', model)
    .where('recorded_at', '>=', from)
    .where('recorded_at', '<', to)
    .execute();
  return {
    range: { from, to },
    rows: rows.map((row) => ({ ...fromPredictionRow(row), recordedAt: row.recorded_at })),
  };
}

/**
 * Says that a range is exported, with its files. In one transaction with the proof that it follows on what was exported before (of two
 * exports of a range one counts) and that its rows are still those that were read (nobody has been forgotten meanwhile).
 * @returns false, and changes nothing, where either is not so: the range is to be read again
 */
export async function putExportedRange(
  db: Db,
  { model, range, parts }: { model: string; range: RecordedRange; parts: readonly PredictionPart[] },
): Promise<boolean> {
  const put = async (tx: Db): Promise<boolean> => {
    await tx
      .insertInto('prediction_export')
      .values({ model, exported_to: 0 })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    const moved = await tx
      .updateTable('prediction_export')
      .set({ exported_to: range.to })
      .where('model', '=', model)
      .where('exported_to', '=', range.from)
      .executeTakeFirst();
    if (moved.numUpdatedRows === 0n) return false;
    const read = parts.reduce((sum, { rows }) => sum + rows, 0);
    const { rows: standing } = await sql<{ rows: number }>`
      select count(*)::int8 as rows from prediction
      where model = ${model} and recorded_at >= ${range.from} and recorded_at < ${range.to}`.execute(tx);
    if (standing[0]!.rows !== read) throw new RangeChanged();
    if (parts.length === 0) return true;
    await tx
      .insertInto('prediction_part')
      .values(
        parts.map((part) => ({
          model,
          from_at: part.from,
          to_at: part.to,
          day: part.day,
          rows: part.rows,
          first_id: part.firstId,
          last_id: part.lastId,
          file: JSON.stringify(part.file),
          exported_at: part.exportedAt,
        })),
      )
      .execute();
    return true;
  };
  try {
    return await db.transaction().execute(put);
  } catch (error) {
    if (error instanceof RangeChanged) return false;
    throw error;
  }
}

/** Undoes the transaction. */
class RangeChanged extends Error {}

/**
 * A model's files, after every export that had read what is gone from the table now: none brings it back behind the caller.
 */
export async function listPartsForForgetting(db: Db, model: string): Promise<PredictionPart[]> {
  return db.transaction().execute(async (tx) => {
    await sql`select from prediction_export where model = ${model} for update`.execute(tx);
    return listParts(tx, { model });
  });
}

/** Outcomes of answers that were forgotten. */
export async function removeOutcomes(tx: Db, model: string, predictionIds: readonly string[]): Promise<number> {
  const result = await sql`
    delete from outcome where model = ${model} and prediction_id = any(${predictionIds}::text[])`.execute(tx);
  return Number(result.numAffectedRows ?? 0n);
}

/** µs; the longest window of a model's monitors, by the project in force. 0: it has none. */
export async function longestMonitorWindow(db: Db, model: string): Promise<number> {
  const row = await db
    .selectFrom('model')
    .innerJoin('project_version', (join) =>
      join
        .onRef('project_version.project', '=', 'model.project')
        .onRef('project_version.digest', '=', 'model.project_digest'),
    )
    .select('spec')
    .where('name', '=', model)
    .executeTakeFirst();
  const monitors = row?.spec.models.find(({ name }) => name === model)?.monitors ?? [];
  return Math.max(0, ...monitors.map(({ everyMs }) => everyMs)) * 1_000;
}

/**
 * Takes exported rows out of the table, some thousands at a time. Rows that a rollout under way may still look at stay.
 * @returns how many went, and before what everything exported is gone
 */
export async function dropExported(
  db: Db,
  { model, before, batch }: { model: string; before: number; batch: number },
  onBatch: (rows: number) => void,
): Promise<{ rows: number; droppedTo: number }> {
  const { rows: bounds } = await sql<{ to: number }>`
    select least(${before}::int8, e.exported_to,
        (select min(started_at) from rollout where model = ${model} and ended_at is null)) as to
    from prediction_export e where e.model = ${model}`.execute(db);
  const to = bounds[0]?.to ?? 0;
  let dropped = 0;
  for (;;) {
    const result = await sql`
      delete from prediction where ctid = any(array(
        select ctid from prediction where model = ${model} and recorded_at < ${to} limit ${batch}))`.execute(db);
    const rows = Number(result.numAffectedRows ?? 0n);
    dropped += rows;
    onBatch(dropped);
    if (rows < batch) break;
  }
  await sql`
    update prediction_export set dropped_to = greatest(dropped_to, ${to}::int8) where model = ${model}`.execute(db);
  return { rows: dropped, droppedTo: to };
}

/** Files that may hold an id, the newest first. Ids that Serin makes begin with their time: mostly one. */
export async function listPartsWith(db: Db, predictionId: string): Promise<PredictionPart[]> {
  const rows = await db
    .selectFrom('prediction_part')
    .selectAll()
    .where('first_id', '<=', predictionId)
    .where('last_id', '>=', predictionId)
    .orderBy('from_at', 'desc')
    .orderBy('day', 'desc')
    .execute();
  return rows.map(partOf);
}

/** By model, day and range. */
export async function listParts(db: Db, { model }: { model?: string | undefined } = {}): Promise<PredictionPart[]> {
  let query = db.selectFrom('prediction_part').selectAll();
  if (model !== undefined) query = query.where('model', '=', model);
  return (await query.orderBy('model').orderBy('day').orderBy('from_at').execute()).map(partOf);
}

/**
 * Puts a file without the rows of a forgotten key in the place of one that had them.
 * @param by null: nothing else was in it
 * @returns false, and changes nothing, when the part is not what it was
 */
export async function replacePart(
  tx: Db,
  requestId: string,
  part: PredictionPart,
  { by, rows }: { by: Pick<PredictionPart, 'file' | 'rows' | 'firstId' | 'lastId'> | null; rows: number },
): Promise<boolean> {
  const same = sql<boolean>`file ->> 'sha256' = ${part.file.sha256}`;
  const where = { model: part.model, from_at: part.from, day: part.day };
  const changed =
    by === null
      ? (
          await tx
            .deleteFrom('prediction_part')
            .where((eb) => eb.and(where))
            .where(same)
            .executeTakeFirst()
        ).numDeletedRows
      : (
          await tx
            .updateTable('prediction_part')
            .set({ file: JSON.stringify(by.file), rows: by.rows, first_id: by.firstId, last_id: by.lastId })
            .where((eb) => eb.and(where))
            .where(same)
            .executeTakeFirst()
        ).numUpdatedRows;
  if (changed !== 1n) return false;
  await doomBlob(tx, requestId, part.file.sha256);
  await addRemoved(tx, requestId, 'predictions', rows);
  return true;
}

function partOf(row: Selectable<PredictionPartTable>): PredictionPart {
  return {
    model: row.model,
    from: row.from_at,
    to: row.to_at,
    day: row.day,
    rows: row.rows,
    firstId: row.first_id,
    lastId: row.last_id,
    file: row.file,
    exportedAt: row.exported_at,
  };
}
