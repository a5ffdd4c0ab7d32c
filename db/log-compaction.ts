import type { LogFile } from '../domain/features/log-file.ts';
import type { Db } from './database.ts';
import { lockSequence } from './ingest.ts';

/**
 * Puts one file in the place of those whose rows it holds. The blobs of the old ones stay, for the manifests that name them;
 * `retired_log_file` says which they are. @returns false, and changes nothing, when one of them is no longer in the log
 */
export async function replaceLogFiles(
  tx: Db,
  source: string,
  { files, by, at }: { files: readonly LogFile[]; by: LogFile; at: number },
): Promise<boolean> {
  // two compactions of a source, and a compaction and a commit, go one after the other
  await lockSequence(tx, source);
  const sequences = files.map((file) => file.firstSeq);
  const standing = await tx
    .selectFrom('log_file')
    .select(['first_seq', 'file', 'indexed'])
    .where('source', '=', source)
    .where('first_seq', 'in', sequences)
    .execute();
  const digests = new Set(standing.map((row) => row.file.blob.sha256));
  if (!files.every(({ blob }) => digests.has(blob.sha256))) return false;
  await tx.deleteFrom('log_file').where('source', '=', source).where('first_seq', 'in', sequences).execute();
  await tx
    .insertInto('retired_log_file')
    .values(files.map((file) => ({ source, sha256: file.blob.sha256, file: JSON.stringify(file), retired_at: at })))
    .onConflict((conflict) => conflict.columns(['source', 'sha256']).doNothing())
    .execute();
  await tx
    .insertInto('log_file')
    .values({
      source,
      first_seq: by.firstSeq,
      last_seq: by.lastSeq,
      batch_id: null,
      file: JSON.stringify(by),
      indexed: standing.every((row) => row.indexed),
    })
    .execute();
  return true;
}

/** What compactions have replaced so far, and what a removal of data has to look into as well. */
export async function listRetiredFiles(db: Db, source: string): Promise<LogFile[]> {
  const rows = await db
    .selectFrom('retired_log_file')
    .select('file')
    .where('source', '=', source)
    .orderBy('retired_at')
    .orderBy('sha256')
    .execute();
  return rows.map((row) => row.file);
}
