/** Keeps the files of a source's log, and of the index of its ids, few. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { addIndexFile, listIndexFiles, listUnindexedFiles, markIndexed, replaceIndexFiles } from '../db/event-index.ts';
import { listLogFiles } from '../db/ingest.ts';
import { replaceLogFiles } from '../db/log-compaction.ts';
import { planIndexMerge } from '../domain/features/event-index.ts';
import { nextCompaction } from '../domain/features/log-compaction.ts';
import type { SourceSpec } from '../domain/project/spec.ts';
import { mergeLogFiles } from '../features/offline/compact-log.ts';
import { indexLogFiles, mergeIndexFiles } from '../features/offline/event-index-writer.ts';
import type { CompactLogResult } from '../workflows/messages.ts';
import { type Dependencies, withDuckDb } from './dependencies.ts';
import type { Beating } from './heartbeat.ts';

export interface LogUpkeep {
  compact(source: SourceSpec, beating: Beating): Promise<CompactLogResult>;
  /** Indexes files from before there was an index and merges index files when there are many. Running it twice at a time is safe. */
  tidyIndex(source: SourceSpec): Promise<void>;
}

export function createLogUpkeep({
  db,
  blobs,
  config,
  now,
}: Pick<Dependencies, 'db' | 'blobs' | 'config' | 'now'>): LogUpkeep {
  const { workDir } = config;

  return {
    async compact(source, { signal, progress }) {
      let [merged, rows] = [0, 0];
      for (;;) {
        const files = await listLogFiles(db, source.name);
        const compaction = nextCompaction(files);
        if (compaction === null) return { filesMerged: merged, rows, files: files.length };
        signal.throwIfAborted();
        const name = `compact-${randomUUID()}`;
        const by = await withDuckDb(config, (duckdb) =>
          mergeLogFiles({ source, compaction, name, blobs, workDir, duckdb, signal }),
        );
        const replaced = await db
          .transaction()
          .execute((tx) => replaceLogFiles(tx, source.name, { files: compaction.files, by, at: now() }));
        if (!replaced) continue;
        merged += compaction.files.length;
        rows += by.rows;
        progress({ filesMerged: merged, rows });
      }
    },

    async tidyIndex(source) {
      const path = join(workDir, `index-${randomUUID()}`);
      const old = await listUnindexedFiles(db, source.name);
      if (old.length > 0) {
        const file = await withDuckDb(config, (duckdb) => indexLogFiles({ source, files: old, blobs, path, duckdb }));
        await db.transaction().execute(async (tx) => {
          await addIndexFile(tx, source.name, file);
          await markIndexed(tx, source.name, old);
        });
      }
      const merge = planIndexMerge(await listIndexFiles(db, source.name));
      if (merge.length === 0) return;
      const file = await mergeIndexFiles(merge, { blobs, path });
      await db.transaction().execute((tx) => replaceIndexFiles(tx, source.name, merge, file));
    },
  };
}
