/**
 * Shadows of online views while they are built: rows of `view_progress` beside those of the views. Such a row keeps in the
 * buffer what the shadow still needs, and says whether it has taken its view's place.
 */
import { type Kysely, sql } from 'kysely';
import type { Db } from './database.ts';
import type { Tables } from './schema.ts';

export interface Shadow {
  readonly shadowId: string;
  readonly source: string;
}

/** From here on no event after `seq` leaves the source's buffer, until `forgetProgress` of the shadow. */
export async function holdBuffer(db: Db, { shadowId, source }: Shadow, seq: number, at: number): Promise<void> {
  await db
    .insertInto('view_progress')
    .values({ view_id: shadowId, source, applied_seq: seq, updated_at: at })
    .onConflict((conflict) => conflict.column('view_id').doUpdateSet({ updated_at: at }))
    .execute();
}

/** Says that a shadow is being worked on. */
export async function touchShadow(db: Db, shadowId: string, at: number): Promise<void> {
  await db.updateTable('view_progress').set({ updated_at: at }).where('view_id', '=', shadowId).execute();
}

/** Shadows of a view that nobody has worked on since: their workflow was terminated. */
export async function listAbandonedShadows(db: Db, viewId: string, since: number): Promise<string[]> {
  const rows = await db
    .selectFrom('view_progress')
    .select('view_id')
    .where(sql<boolean>`starts_with(view_id, ${`${viewId}~`})`)
    .where('updated_at', '<', since)
    .execute();
  return rows.map((row) => row.view_id);
}

/** The revision of the shadow from which it was last about to take its view's place; null: it was not. */
export async function getExchangeRevision(db: Db, shadowId: string): Promise<number | null> {
  const row = await db
    .selectFrom('view_progress')
    .select('exchange_revision')
    .where('view_id', '=', shadowId)
    .executeTakeFirst();
  return row?.exchange_revision ?? null;
}

/** @param from what it must be now: another attempt may have come between */
export async function setExchangeRevision(
  db: Db,
  shadowId: string,
  { from, to }: { from: number | null; to: number | null },
): Promise<void> {
  await db
    .updateTable('view_progress')
    .set({ exchange_revision: to })
    .where('view_id', '=', shadowId)
    .where(sql<boolean>`exchange_revision is not distinct from ${from}`)
    .execute();
}

/**
 * Grows when a key is blocked and when files are written anew without one: what was built from the log under another number
 * may hold rows of an entity that was forgotten.
 */
export async function forgetGeneration(db: Db, source: string): Promise<number> {
  const { rows } = await sql<{ generation: number }>`
    select (select count(*) from forgotten_key where source = ${source})
      + (select count(*) from forgotten_blob) as generation`.execute(db);
  return Number(rows[0]!.generation);
}

export interface BuiltView {
  readonly viewId: string;
  readonly source: string;
  readonly appliedSeq: number;
  /** Up to here it is made of the log, files included. */
  readonly builtSeq: number;
  /** `forgetGeneration` before the log was read. */
  readonly generation: number;
  /** Of all that was built in; null: of nothing. */
  readonly newestEventAt: number | null;
}

export type Placed = 'placed' | 'refused' | 'superseded' | 'outdated';

/**
 * Runs `exchange` while nobody else puts a build of the view in place, and then says what the view is made of.
 * @returns with nothing done 'superseded' when the view in place was built from more of the log, 'outdated' when an entity
 * was forgotten since the log was read
 */
export async function placeBuild(
  db: Kysely<Tables>,
  built: BuiltView,
  now: () => number,
  exchange: () => Promise<boolean>,
): Promise<Placed> {
  const { viewId, source, appliedSeq, builtSeq, generation, newestEventAt } = built;
  return db.transaction().execute(async (tx) => {
    await tx
      .insertInto('view_progress')
      .values({ view_id: viewId, source, applied_seq: appliedSeq, updated_at: now() })
      .onConflict((conflict) => conflict.column('view_id').doNothing())
      .execute();
    const standing = await tx
      .selectFrom('view_progress')
      .select('built_seq')
      .where('view_id', '=', viewId)
      .forUpdate()
      .executeTakeFirstOrThrow();
    if (standing.built_seq !== null && standing.built_seq > builtSeq) return 'superseded';
    if ((await forgetGeneration(tx, source)) !== generation) return 'outdated';
    if (!(await exchange())) return 'refused';
    const at = now();
    await tx
      .updateTable('view_progress')
      .set({
        source,
        applied_seq: appliedSeq,
        updated_at: at,
        built_seq: builtSeq,
        built_at: at,
        newest_event_at: sql`greatest(newest_event_at, ${newestEventAt}::int8)`,
      })
      .where('view_id', '=', viewId)
      .execute();
    await sql`select pg_notify('serin_applied', ${`${source} ${appliedSeq}`})`.execute(tx);
    return 'placed';
  });
}

/** Views in use (not shadows) of a source whose last build lacks rows that came in files since. */
export async function listStaleViews(db: Db, source: string): Promise<string[]> {
  const rows = await db
    .selectFrom('view_progress')
    .select('view_id')
    .where('source', '=', source)
    .where('view_id', 'not like', '%~%')
    .where((eb) =>
      eb.exists(
        eb
          .selectFrom('ingest_batch')
          .select('batch_id')
          .where('ingest_batch.source', '=', source)
          .where('rows_accepted', '>', 0)
          .where('batch_id', '!~', '^pushed-[0-9]+$')
          .where(sql<boolean>`last_seq > coalesce(view_progress.built_seq, 0)`),
      ),
    )
    .orderBy('view_id')
    .execute();
  return rows.map((row) => row.view_id);
}
