import { type Selectable, sql } from 'kysely';
import { SerinError } from '../domain/errors.ts';
import type { EventIndex, EventIndexFile } from '../domain/features/event-index.ts';
import { type LogFile, type Operation, OPERATIONS } from '../domain/features/log-file.ts';
import type { Row } from '../domain/project/expression.ts';
import type { Db } from './database.ts';
import { addIndexFile, listIndexFiles } from './event-index.ts';
import { isForgotten, listForgottenKeys } from './forgotten-keys.ts';
import type { IngestBatchTable } from './schema.ts';

export interface IngestBatch {
  readonly source: string;
  readonly batchId: string;
  readonly inputSha256: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly rowsIn: number;
  readonly rowsAccepted: number;
  readonly quarantined: Readonly<Record<string, number>>;
  readonly quarantineSha256: string | null;
  readonly ingestedAt: number;
}

export interface BufferedEvent {
  readonly eventId: string;
  /** What makes it the same row again (`createRowIds`). */
  readonly versionId: string;
  readonly operation: Operation;
  readonly eventAt: number;
  readonly availableAt: number;
  readonly clockAt: number;
  readonly row: Row;
}

/**
 * Takes `count` numbers of a source's ingest sequence. The row lock is held to the end of the caller's transaction, so that
 * numbers become visible in their order: a reader that has seen n has seen all below n.
 */
export async function takeSequence(tx: Db, source: string, count: number): Promise<number> {
  const row = await tx
    .insertInto('ingest_sequence')
    .values({ source, next_seq: 1 + count })
    .onConflict((conflict) =>
      conflict.column('source').doUpdateSet((eb) => ({ next_seq: eb('ingest_sequence.next_seq', '+', count) })),
    )
    .returning('next_seq')
    .executeTakeFirstOrThrow();
  return row.next_seq - count;
}

/** Holds the source's sequence as `takeSequence` does, without taking numbers: nobody pushes until the transaction ends. */
export async function lockSequence(tx: Db, source: string): Promise<void> {
  await tx.selectFrom('ingest_sequence').select('next_seq').where('source', '=', source).forUpdate().execute();
}

export async function findBatch(db: Db, source: string, batchId: string): Promise<IngestBatch | undefined> {
  const row = await db
    .selectFrom('ingest_batch')
    .selectAll()
    .where('source', '=', source)
    .where('batch_id', '=', batchId)
    .executeTakeFirst();
  return row && batchFromRow(row);
}

export async function listBatches(db: Db, source: string): Promise<IngestBatch[]> {
  const rows = await db
    .selectFrom('ingest_batch')
    .selectAll()
    .where('source', '=', source)
    .orderBy('first_seq')
    .execute();
  return rows.map(batchFromRow);
}

/**
 * Makes a batch part of the log: its row, its files and the ids of their rows, together. The same batch again is a no-op.
 * @param index null when there are no files
 */
export async function commitBatch(
  tx: Db,
  batch: IngestBatch,
  files: readonly LogFile[],
  index: EventIndexFile | null,
): Promise<void> {
  const standing = await findBatch(tx, batch.source, batch.batchId);
  if (standing) {
    if (standing.inputSha256 === batch.inputSha256) return;
    throw new SerinError(
      'BATCH_CONFLICT',
      `batch "${batch.batchId}" of ${batch.source} was ingested with input ${standing.inputSha256.slice(0, 12)}, not ${batch.inputSha256.slice(0, 12)}: corrected data is a new batch`,
    );
  }
  await tx
    .insertInto('ingest_batch')
    .values({
      source: batch.source,
      batch_id: batch.batchId,
      input_sha256: batch.inputSha256,
      first_seq: batch.firstSeq,
      last_seq: batch.lastSeq,
      rows_in: batch.rowsIn,
      rows_accepted: batch.rowsAccepted,
      quarantined: JSON.stringify(batch.quarantined),
      quarantine_sha256: batch.quarantineSha256,
      ingested_at: batch.ingestedAt,
    })
    .execute();
  if (files.length === 0) return;
  await tx
    .insertInto('log_file')
    .values(
      files.map((file) => ({
        source: batch.source,
        first_seq: file.firstSeq,
        last_seq: file.lastSeq,
        batch_id: batch.batchId,
        file: JSON.stringify(file),
        indexed: index !== null,
      })),
    )
    .execute();
  if (index !== null) await addIndexFile(tx, batch.source, index);
}

/**
 * Sequences of rows that came in files, after `seq`: first and last of each file batch. What was pushed is numbered among
 * them, and its batches say so by their name.
 */
export async function fileBatchesAfter(db: Db, source: string, seq: number): Promise<(readonly [number, number])[]> {
  const rows = await db
    .selectFrom('ingest_batch')
    .select(['first_seq', 'last_seq'])
    .where('source', '=', source)
    .where('last_seq', '>', seq)
    .where('rows_accepted', '>', 0)
    .where('batch_id', '!~', '^pushed-[0-9]+$')
    .orderBy('first_seq')
    .execute();
  return rows.map(({ first_seq, last_seq }) => [Math.max(first_seq, seq + 1), last_seq] as const);
}

export async function listLogFiles(db: Db, source: string): Promise<LogFile[]> {
  const rows = await db
    .selectFrom('log_file')
    .select('file')
    .where('source', '=', source)
    .orderBy('first_seq')
    .execute();
  return rows.map((row) => row.file);
}

/**
 * Appends pushed events. One whose key was forgotten is left out, and so is one that is in the log or in the buffer already (a
 * retried push changes nothing, however long ago the first one was): the log is asked by its index, the buffer by a
 * constraint, and nothing moves from one to the other meanwhile. Returns the last sequence number, how many events were new
 * and their version ids, and those that were forgotten.
 */
export async function bufferEvents(
  tx: Db,
  source: string,
  events: readonly BufferedEvent[],
  index: EventIndex,
): Promise<{
  lastSeq: number;
  added: number;
  versions: readonly string[];
  forgotten: ReadonlySet<BufferedEvent>;
}> {
  // most of the log is asked before the source's other pushes are held up
  const files = await listIndexFiles(tx, source);
  const fresh = await notIn(index, files, events);
  const first = await takeSequence(tx, source, fresh.length);
  const asked = new Set(files.map(({ blob }) => blob.sha256));
  const since = (await listIndexFiles(tx, source)).filter(({ blob }) => !asked.has(blob.sha256));
  // while the sequence is held nothing is forgotten
  const keys = await listForgottenKeys(tx, source);
  const forgotten = new Set(keys.length === 0 ? [] : events.filter(({ row }) => isForgotten(keys, row)));
  const kept = (await notIn(index, since, fresh)).filter((event) => !forgotten.has(event));
  const versions = await insertEvents(tx, source, first, kept);
  return { lastSeq: first + fresh.length - 1, added: versions.length, versions, forgotten };
}

async function notIn(
  index: EventIndex,
  files: readonly EventIndexFile[],
  events: readonly BufferedEvent[],
): Promise<readonly BufferedEvent[]> {
  if (files.length === 0) return events;
  const stored = await index.stored(
    files,
    events.map(({ versionId }) => versionId),
  );
  return stored.size === 0 ? events : events.filter(({ versionId }) => !stored.has(versionId));
}

async function insertEvents(
  tx: Db,
  source: string,
  first: number,
  events: readonly BufferedEvent[],
): Promise<string[]> {
  if (events.length === 0) return [];
  const result = await sql<{ seq: number }>`
    insert into event_buffer (source, seq, event_id, version_id, op, event_at, available_at, clock_at, row)
    select ${source}, ${first} + e.ordinal - 1, e.event_id, e.version_id, e.op, e.event_at, e.available_at, e.clock_at, e.row
    from unnest(
      ${events.map((event) => event.eventId)}::uuid[], ${events.map((event) => event.versionId)}::uuid[],
      ${events.map((event) => OPERATIONS.indexOf(event.operation))}::int2[], ${events.map((event) => event.eventAt)}::int8[],
      ${events.map((event) => event.availableAt)}::int8[], ${events.map((event) => event.clockAt)}::int8[],
      ${events.map((event) => JSON.stringify(event.row))}::jsonb[]
    ) with ordinality as e (event_id, version_id, op, event_at, available_at, clock_at, row, ordinal)
    on conflict (source, version_id) do nothing
    returning seq`.execute(tx);
  await sql`select pg_notify('serin_events', ${source})`.execute(tx);
  return result.rows.map(({ seq }) => events[seq - first]!.versionId);
}

export interface StoredBufferedEvent extends BufferedEvent {
  readonly seq: number;
  /** When it was taken in, by the database's clock. */
  readonly receivedAt: number;
}

export async function readBuffer(
  db: Db,
  { source, afterSeq, limit, unloggedUpTo }: { source: string; afterSeq: number; limit: number; unloggedUpTo?: number },
): Promise<StoredBufferedEvent[]> {
  let query = db
    .selectFrom('event_buffer')
    .selectAll()
    .where('source', '=', source)
    .where('seq', '>', afterSeq)
    .orderBy('seq')
    .limit(limit);
  if (unloggedUpTo !== undefined) query = query.where('seq', '<=', unloggedUpTo).where('logged', '=', false);
  const rows = await query.execute();
  return rows.map((row) => ({
    seq: row.seq,
    eventId: row.event_id,
    versionId: row.version_id,
    operation: OPERATIONS[row.op]!,
    eventAt: row.event_at,
    availableAt: row.available_at,
    clockAt: row.clock_at,
    receivedAt: row.received_at,
    row: row.row,
  }));
}

/** Version ids of the pushed rows that are not in the log yet. */
export async function listUnloggedVersions(db: Db, source: string): Promise<string[]> {
  const rows = await db
    .selectFrom('event_buffer')
    .select('version_id')
    .where('source', '=', source)
    .where('logged', '=', false)
    .execute();
  return rows.map((row) => row.version_id);
}

/** Says that the events up to `upToSeq` are in the log now; belongs into the transaction that commits their batch. */
export async function markLogged(tx: Db, source: string, upToSeq: number): Promise<void> {
  await tx
    .updateTable('event_buffer')
    .set({ logged: true })
    .where('source', '=', source)
    .where('seq', '<=', upToSeq)
    .where('logged', '=', false)
    .execute();
}

/**
 * Drops what is in the log and has been read by every online view of the source (`view_progress`). How far that goes is kept:
 * a view that turns out to lie behind it (its store was restored from an old copy) must be built anew.
 */
export async function trimBuffer(db: Db, source: string): Promise<void> {
  await sql`
    with gone as (
      delete from event_buffer where source = ${source} and logged
        and seq <= coalesce((select min(applied_seq) from view_progress where source = ${source}), ${Number.MAX_SAFE_INTEGER}::int8)
      returning seq)
    update ingest_sequence set trimmed_seq = greatest(trimmed_seq, (select max(seq) from gone))
    where source = ${source} and exists (select 1 from gone)`.execute(db);
}

/** The newest `event_at` in the log of each source. */
export async function getNewestLogged(db: Db): Promise<ReadonlyMap<string, number>> {
  const { rows } = await sql<{ source: string; newest: number }>`
    select source, max((file ->> 'maxEventAt')::int8) as newest from log_file group by source`.execute(db);
  return new Map(rows.map(({ source, newest }) => [source, newest]));
}

export async function getLastSequence(db: Db, source: string): Promise<number> {
  const row = await db.selectFrom('ingest_sequence').select('next_seq').where('source', '=', source).executeTakeFirst();
  return (row?.next_seq ?? 1) - 1;
}

/** The newest buffered event up to a sequence number; undefined when none is left in the buffer. */
export async function getNewestBuffered(db: Db, source: string, upToSeq: number): Promise<number | undefined> {
  const row = await db
    .selectFrom('event_buffer')
    .select((eb) => eb.fn.max('seq').as('newest'))
    .where('source', '=', source)
    .where('seq', '<=', upToSeq)
    .executeTakeFirst();
  return row?.newest ?? undefined;
}

/** How far the online views of a source have read it: the smallest applied sequence; undefined when it feeds none. */
export async function getAppliedSequence(db: Db, source: string): Promise<number | undefined> {
  const row = await db
    .selectFrom('view_progress')
    .select((eb) => eb.fn.min('applied_seq').as('applied'))
    .where('source', '=', source)
    // a shadow that is being built is nobody's view yet
    .where('view_id', 'not like', '%~%')
    .executeTakeFirst();
  return row?.applied ?? undefined;
}

function batchFromRow(row: Selectable<IngestBatchTable>): IngestBatch {
  return {
    source: row.source,
    batchId: row.batch_id,
    inputSha256: row.input_sha256,
    firstSeq: row.first_seq,
    lastSeq: row.last_seq,
    rowsIn: row.rows_in,
    rowsAccepted: row.rows_accepted,
    quarantined: row.quarantined,
    quarantineSha256: row.quarantine_sha256,
    ingestedAt: row.ingested_at,
  };
}
