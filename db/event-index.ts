import type { EventIndexFile } from '../domain/features/event-index.ts';
import type { LogFile } from '../domain/features/log-file.ts';
import type { Db } from './database.ts';

export async function listIndexFiles(db: Db, source: string): Promise<EventIndexFile[]> {
  const rows = await db
    .selectFrom('event_index')
    .select('file')
    .where('source', '=', source)
    .orderBy('sha256')
    .execute();
  return rows.map((row) => row.file);
}

/** Files whose ids the index lacks: those written before there was one. */
export async function listUnindexedFiles(db: Db, source: string): Promise<LogFile[]> {
  const rows = await db
    .selectFrom('log_file')
    .select('file')
    .where('source', '=', source)
    .where('indexed', '=', false)
    .orderBy('first_seq')
    .execute();
  return rows.map((row) => row.file);
}

export async function addIndexFile(tx: Db, source: string, file: EventIndexFile): Promise<void> {
  await tx
    .insertInto('event_index')
    .values({ source, sha256: file.blob.sha256, file: JSON.stringify(file) })
    // the same ids again: a batch whose commit is repeated
    .onConflict((conflict) => conflict.columns(['source', 'sha256']).doNothing())
    .execute();
}

export async function markIndexed(tx: Db, source: string, files: readonly LogFile[]): Promise<void> {
  await tx
    .updateTable('log_file')
    .set({ indexed: true })
    .where('source', '=', source)
    .where(
      'first_seq',
      'in',
      files.map((file) => file.firstSeq),
    )
    .execute();
}

/** Puts one index file in the place of those it was merged from. @returns false, and changes nothing, when one of them is gone */
export async function replaceIndexFiles(
  tx: Db,
  source: string,
  merged: readonly EventIndexFile[],
  file: EventIndexFile,
): Promise<boolean> {
  const digests = merged.map(({ blob }) => blob.sha256);
  const standing = await tx
    .selectFrom('event_index')
    .select('sha256')
    .where('source', '=', source)
    .where('sha256', 'in', digests)
    .forUpdate()
    .execute();
  if (standing.length !== digests.length) return false;
  await tx.deleteFrom('event_index').where('source', '=', source).where('sha256', 'in', digests).execute();
  await addIndexFile(tx, source, file);
  return true;
}
