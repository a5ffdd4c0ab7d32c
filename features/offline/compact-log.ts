import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobStore } from '../../domain/blob.ts';
import type { Compaction } from '../../domain/features/log-compaction.ts';
import type { LogFile } from '../../domain/features/log-file.ts';
import type { SourceSpec } from '../../domain/project/spec.ts';
import type { DuckDb } from './duckdb.ts';
import { Session } from './ingest-session.ts';
import { logRelationSql } from './log-relation.ts';
import { writeLogFile } from './log-writer.ts';

export interface MergeLogFilesInput {
  readonly source: SourceSpec;
  readonly compaction: Compaction;
  /** Names the working file. */
  readonly name: string;
  readonly blobs: BlobStore;
  readonly workDir: string;
  /** Used by nobody else meanwhile. */
  readonly duckdb: DuckDb;
  readonly signal?: AbortSignal;
}

/**
 * One file with the rows of all, in the source's present columns. The same files give the same bytes.
 * @throws RangeError when a row would be lost; BLOB_NOT_FOUND BLOB_CORRUPT STORAGE_FULL CANCELLED
 */
export async function mergeLogFiles(request: MergeLogFilesInput): Promise<LogFile> {
  const { source, compaction, name, blobs, workDir, duckdb, signal } = request;
  const session = await Session.open(duckdb, signal);
  const path = join(workDir, `${name}-compacted.parquet`);
  try {
    const paths: string[] = [];
    for (const { blob } of compaction.files) paths.push(await blobs.localPath(blob));
    const sql = `SELECT * FROM ${logRelationSql(paths, source)}`;
    const file = await writeLogFile(session, { sql, path, period: compaction.period, blobs });
    const rows = compaction.files.reduce((sum, each) => sum + each.rows, 0);
    if (file.rows !== rows) throw new RangeError(`${rows} rows of ${source.name} became ${file.rows}`);
    return file;
  } finally {
    await session.close([]);
    await rm(path, { force: true });
  }
}
