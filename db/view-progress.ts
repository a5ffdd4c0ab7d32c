/**
 * How far each online view has read its source: a copy of the online store's cursors in Serin's own database, written after
 * the store was. It says which events of the buffer are still needed, wherever the store lies.
 */
import { sql } from 'kysely';
import type { Db } from './database.ts';

export interface ViewProgress {
  readonly viewId: string;
  readonly source: string;
  readonly appliedSeq: number;
}

/** What a batch says of a view's freshness. */
export interface BatchClocks {
  readonly newestEventAt: number;
  /** The pushers' clock less ours, µs. */
  readonly clockOffset: number;
  /** From being taken in to being readable, of its oldest event, µs. */
  readonly delayMicros: number;
}

/**
 * Moves views on, never back, and announces it to those who wait for an event to be applied.
 * @param updatedAt now
 */
export async function advanceProgress(
  db: Db,
  views: readonly ViewProgress[],
  updatedAt: number,
  clocks: BatchClocks | null = null,
): Promise<void> {
  if (views.length === 0) return;
  await sql`
    with moved as (
      insert into view_progress (view_id, source, applied_seq, updated_at, newest_event_at, clock_offset, delay_us)
      select v.view_id, v.source, v.applied_seq, ${updatedAt}, ${clocks?.newestEventAt ?? null}::int8,
        ${clocks?.clockOffset ?? null}::int8, ${clocks?.delayMicros ?? null}::int8
      from unnest(${views.map(({ viewId }) => viewId)}::text[], ${views.map(({ source }) => source)}::text[],
        ${views.map(({ appliedSeq }) => appliedSeq)}::int8[]) as v (view_id, source, applied_seq)
      order by v.view_id
      on conflict (view_id) do update
        set source = excluded.source, applied_seq = excluded.applied_seq, updated_at = excluded.updated_at,
          newest_event_at = greatest(view_progress.newest_event_at, excluded.newest_event_at),
          clock_offset = coalesce(excluded.clock_offset, view_progress.clock_offset),
          delay_us = coalesce(excluded.delay_us, view_progress.delay_us)
        where view_progress.applied_seq < excluded.applied_seq or view_progress.source <> excluded.source
      returning source, applied_seq)
    select pg_notify('serin_applied', source || ' ' || max(applied_seq)) from moved group by source`.execute(db);
}

/** Puts views where they are, also back: after they were built anew. The buffer keeps what lies after, if it still has it. */
export async function resetProgress(db: Db, views: readonly ViewProgress[], updatedAt: number): Promise<void> {
  for (const { viewId, source, appliedSeq } of views) {
    const built = {
      source,
      applied_seq: appliedSeq,
      updated_at: updatedAt,
      built_seq: appliedSeq,
      built_at: updatedAt,
    };
    await db
      .insertInto('view_progress')
      .values({ view_id: viewId, ...built })
      .onConflict((conflict) => conflict.column('view_id').doUpdateSet(built))
      .execute();
    await sql`select pg_notify('serin_applied', ${`${source} ${appliedSeq}`})`.execute(db);
  }
}

export interface ViewBuild {
  /** The last sequence of the log it was built from. */
  readonly seq: number;
  readonly at: number;
}

/** How each view was last built; a view of which that is not known is absent. */
export async function lastBuilds(db: Db, viewIds: readonly string[]): Promise<ReadonlyMap<string, ViewBuild>> {
  if (viewIds.length === 0) return new Map();
  const rows = await db
    .selectFrom('view_progress')
    .select(['view_id', 'built_seq', 'built_at'])
    .where('view_id', 'in', viewIds)
    .execute();
  return new Map(
    rows.flatMap(({ view_id, built_seq, built_at }) =>
      built_seq === null || built_at === null ? [] : [[view_id, { seq: built_seq, at: built_at }]],
    ),
  );
}

/** Of a shadow that is gone, or a view that is retired: it holds back no events any more. */
export async function forgetProgress(db: Db, viewIds: readonly string[]): Promise<void> {
  if (viewIds.length > 0) await db.deleteFrom('view_progress').where('view_id', 'in', viewIds).execute();
}

/** Up to where the events of each source have left the buffer; a view whose cursor lies before cannot be fed from it. */
export async function trimmedSequences(db: Db, sources: readonly string[]): Promise<ReadonlyMap<string, number>> {
  if (sources.length === 0) return new Map();
  const rows = await db
    .selectFrom('ingest_sequence')
    .select(['source', 'trimmed_seq'])
    .where('source', 'in', sources)
    .execute();
  return new Map(rows.map((row) => [row.source, row.trimmed_seq]));
}
