/** Takes the rows of a key out of the database's own tables, and counts those that are left. */
import { type RawBuilder, sql } from 'kysely';
import { type KeyNames, mayMove } from '../domain/features/forgotten-keys.ts';
import { type LogFile, OPERATIONS } from '../domain/features/log-file.ts';
import type { SourceSpec } from '../domain/project/spec.ts';
import type { BlobRef } from '../domain/blob.ts';
import { formatTime } from '../domain/features/time-text.ts';
import type { Db } from './database.ts';
import { addRemoved, doomBlob } from './forget-requests.ts';
import { getForgetSalt, keyDigest } from './forgotten-keys.ts';
import { lockSequence, takeSequence } from './ingest.ts';
import type { Redaction } from './schema.ts';

export interface KeyRoles {
  readonly keys: readonly KeyNames[];
  readonly values: readonly (string | number | boolean)[];
  /** Of each value, what may stand for it in logged predictions (`redaction.ts`). Absent: nothing but the value itself. */
  readonly tokens?: readonly (readonly string[])[];
}

/**
 * From the end of the transaction on, rows with the key are not taken in. Nobody pushes while it lasts, so that what was pushed
 * before it lies in the buffer. Blocking again changes nothing.
 */
export async function blockKey(
  tx: Db,
  source: SourceSpec,
  { keys, values }: KeyRoles,
  { requestId, at }: { requestId: string; at: number },
): Promise<void> {
  await takeSequence(tx, source.name, 0);
  const salt = await getForgetSalt(tx);
  for (const names of keys) {
    const columns = names.map((name) => source.columns.find((column) => column.name === name)!);
    const row = Object.fromEntries(names.map((name, i) => [name, values[i]!]));
    await tx
      .insertInto('forgotten_key')
      .values({
        source: source.name,
        columns: [...names],
        types: columns.map(({ type }) => type),
        digest: keyDigest(columns, row, salt),
        request_id: requestId,
        forgotten_at: at,
      })
      .onConflict((conflict) => conflict.columns(['source', 'columns', 'digest']).doNothing())
      .execute();
  }
}

/** Takes the key's rows out of a source's buffer; a row that may have come from another key leaves its mark, as in the log. */
export async function removeFromBuffer(tx: Db, requestId: string, source: SourceSpec, roles: KeyRoles): Promise<void> {
  // with the flushes that are at work one goes after the other
  await lockSequence(tx, source.name);
  const matches = sql`source = ${source.name} and ${matchSql(sql.ref('row'), roles)}`;
  const result = mayMove(source, roles.keys)
    ? await sql`update event_buffer set row = '{}', op = ${OPERATIONS.indexOf('retract')} where ${matches}`.execute(tx)
    : await sql`delete from event_buffer where ${matches}`.execute(tx);
  await addRemoved(tx, requestId, 'buffer', Number(result.numAffectedRows ?? 0n));
}

export async function countInBuffer(db: Db, source: string, roles: KeyRoles): Promise<number> {
  return count(db, sql`event_buffer where source = ${source} and ${matchSql(sql.ref('row'), roles)}`);
}

/**
 * Refused Kafka records are kept as they came, cut: one that has the texts of the key somewhere counts as the key's. Rather one
 * record too many than one too few; they are kept for a look at what went wrong, and nothing is made of them.
 */
export async function removeRefused(tx: Db, requestId: string, source: string, roles: KeyRoles): Promise<void> {
  const result = await sql`delete from kafka_refused where ${refusedSql(source, roles)}`.execute(tx);
  await addRemoved(tx, requestId, 'refused', Number(result.numAffectedRows ?? 0n));
}

export async function countRefused(db: Db, source: string, roles: KeyRoles): Promise<number> {
  return count(db, sql`kafka_refused where ${refusedSql(source, roles)}`);
}

function refusedSql(source: string, { values }: KeyRoles): RawBuilder<unknown> {
  const texts = values
    .filter((value) => typeof value !== 'boolean')
    .map((value) => (typeof value === 'string' ? JSON.stringify(value).slice(1, -1) : String(value)));
  const parts = texts.map((text) => sql`strpos(coalesce(value, '') || reasons::text, ${text}) > 0`);
  return sql`source = ${source} and ${parts.length === 0 ? sql`true` : sql.join(parts, sql` and `)}`;
}

/** Logged answers to requests with the key, and what became of them. */
export async function removePredictions(tx: Db, requestId: string, model: string, roles: KeyRoles): Promise<void> {
  const { rows } = await sql<{ removed: number }>`
    with gone as (
      delete from prediction where model = ${model} and ${matchSql(sql.ref('request'), roles)} returning prediction_id),
    outcomes as (
      delete from outcome where model = ${model} and prediction_id in (select prediction_id from gone) returning 1)
    select ((select count(*) from gone) + (select count(*) from outcomes))::int as removed`.execute(tx);
  await addRemoved(tx, requestId, 'predictions', rows[0]!.removed);
}

export async function countPredictions(db: Db, model: string, roles: KeyRoles): Promise<number> {
  return count(db, sql`prediction where model = ${model} and ${matchSql(sql.ref('request'), roles)}`);
}

/** JSON that has the key in one of its roles. An instant may be a number or a text. */
function matchSql(json: RawBuilder<unknown>, { keys, values, tokens }: KeyRoles): RawBuilder<unknown> {
  if (keys.length === 0) return sql`false`;
  const holds = (members: object): RawBuilder<unknown> => sql`${json} @> ${JSON.stringify(members)}::jsonb`;
  const forms = keys.map((names) => {
    const plain = holds(Object.fromEntries(names.map((name, i) => [name, values[i]!])));
    if (tokens === undefined) return plain;
    // some parts of a key may be personal and others not
    const parts = names.map((name, i) =>
      sql.join(
        [values[i]!, ...tokens[i]!].map((form) => holds({ [name]: form })),
        sql` or `,
      ),
    );
    return parts.length === 0
      ? plain
      : sql`(${sql.join(
          parts.map((part) => sql`(${part})`),
          sql` and `,
        )})`;
  });
  return sql`(${sql.join(forms, sql` or `)})`;
}

/** The same key with its instants as texts, as requests may carry them. @param times which of the values are instants */
export function withTimeTexts({ keys, values, ...rest }: KeyRoles, times: readonly boolean[]): KeyRoles {
  return { ...rest, keys, values: values.map((value, i) => (times[i]! ? formatTime(value as number) : value)) };
}

async function count(db: Db, from: RawBuilder<unknown>): Promise<number> {
  const { rows } = await sql<{ rows: number }>`select count(*)::int as rows from ${from}`.execute(db);
  return rows[0]!.rows;
}

/**
 * Puts a file without the key's rows in the place of one that had them. @param by null: nothing else was in it
 * @returns false, and changes nothing, when the file is no longer in the log
 */
export async function replaceForgottenFile(
  tx: Db,
  requestId: string,
  source: string,
  { file, by, rows }: { file: LogFile; by: LogFile | null; rows: number },
): Promise<boolean> {
  // as compactions and commits do: they go one after the other
  await lockSequence(tx, source);
  const { rows: standing } = await sql<{ first_seq: number }>`
    select first_seq from log_file
    where source = ${source} and first_seq = ${file.firstSeq} and file -> 'blob' ->> 'sha256' = ${file.blob.sha256}
    for update`.execute(tx);
  if (standing.length === 0) return false;
  const row = tx.updateTable('log_file').where('source', '=', source).where('first_seq', '=', file.firstSeq);
  if (by === null) {
    await tx.deleteFrom('log_file').where('source', '=', source).where('first_seq', '=', file.firstSeq).execute();
  } else {
    await row.set({ first_seq: by.firstSeq, last_seq: by.lastSeq, file: JSON.stringify(by) }).execute();
  }
  await doomBlob(tx, requestId, file.blob.sha256);
  await addRemoved(tx, requestId, 'log', rows);
  return true;
}

/** A file that a compaction replaced is wanted by manifests alone: it goes as a whole, its other rows are in the file that replaced it. */
export async function dropRetiredFile(tx: Db, requestId: string, source: string, file: LogFile): Promise<void> {
  const { sha256 } = file.blob;
  await tx.deleteFrom('retired_log_file').where('source', '=', source).where('sha256', '=', sha256).execute();
  await doomBlob(tx, requestId, sha256);
}

/** Quarantine files of a source, each once. */
export async function listQuarantineFiles(db: Db, source: string): Promise<string[]> {
  const rows = await db
    .selectFrom('ingest_batch')
    .select('quarantine_sha256')
    .distinct()
    .where('source', '=', source)
    .where('quarantine_sha256', 'is not', null)
    .execute();
  return rows.map((row) => row.quarantine_sha256!).toSorted();
}

export async function replaceQuarantineFile(
  tx: Db,
  requestId: string,
  source: string,
  { sha256, by, rows }: { sha256: string; by: BlobRef | null; rows: number },
): Promise<void> {
  const replaced = await tx
    .updateTable('ingest_batch')
    .set({ quarantine_sha256: by?.sha256 ?? null })
    .where('source', '=', source)
    .where('quarantine_sha256', '=', sha256)
    .executeTakeFirst();
  if (replaced.numUpdatedRows === 0n) return;
  await doomBlob(tx, requestId, sha256);
  await addRemoved(tx, requestId, 'quarantine', rows);
}

/** Marks a dataset, of which `rows` rows went; the file that held them is to go unless it is the same as before. */
export async function redactDataset(
  tx: Db,
  digest: string,
  redaction: Redaction,
  { from, rows }: { from: BlobRef; rows: number },
): Promise<void> {
  const marked = await sql`
    update dataset set redacted = ${JSON.stringify(redaction)}::jsonb
    where digest = ${digest}
      and coalesce(redacted -> 'file' ->> 'sha256', manifest -> 'file' ->> 'sha256') = ${from.sha256}`.execute(tx);
  if (marked.numAffectedRows !== 1n || from.sha256 === redaction.file.sha256) return;
  await doomBlob(tx, redaction.requestId, from.sha256);
  await addRemoved(tx, redaction.requestId, 'datasets', rows);
}

/** All of a project's datasets. */
export async function listDatasetDigests(db: Db, project: string): Promise<string[]> {
  const rows = await db
    .selectFrom('dataset')
    .select('digest')
    .where('project', '=', project)
    .orderBy('digest')
    .execute();
  return rows.map(({ digest }) => digest);
}
