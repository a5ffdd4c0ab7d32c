import { createReadStream } from 'node:fs';
import { createHash, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Db } from '../db/database.ts';
import {
  commitBatch,
  findBatch,
  getLastSequence,
  listLogFiles,
  listUnloggedVersions,
  lockSequence,
  markLogged,
  readBuffer,
  type StoredBufferedEvent,
  takeSequence,
  trimBuffer,
} from '../db/ingest.ts';
import { forgottenRevision, listForgottenKeys } from '../db/forgotten-keys.ts';
import { SerinError } from '../domain/errors.ts';
import type { LogFile } from '../domain/features/log-file.ts';
import type { EventIndexFile } from '../domain/features/event-index.ts';
import type { SourceSpec } from '../domain/project/spec.ts';
import type { DuckDb } from '../features/offline/duckdb.ts';
import { indexLogFiles } from '../features/offline/event-index-writer.ts';
import { ingestBuffered, ingestFile } from '../features/offline/ingest.ts';
import type { IngestSourceResult } from '../workflows/messages.ts';
import { type Dependencies, withDuckDb, sha256 } from './dependencies.ts';
import type { Beating } from './heartbeat.ts';
import type { LogUpkeep } from './log-upkeep.ts';

/** Buffered events are read in pages, so that a long buffer does not fill the memory twice. */
const BUFFER_PAGE = 20_000;

/** A source that is pushed to all the time could take the numbers away each time; after this many the activity's own retry waits. */
const MAX_RENUMBERINGS = 5;

/** What a batch was made from is no longer so: other events came in, or a key was forgotten. */
class SequenceMoved extends Error {}

export interface FileBatch {
  readonly source: SourceSpec;
  /** `keysOfSource` */
  readonly keys: readonly (readonly string[])[];
  readonly batchId: string;
  readonly input: { readonly path: string; readonly format: 'parquet' | 'csv' | 'jsonl' };
}

export interface PushedBatch {
  readonly source: SourceSpec;
  readonly batchId: string;
  readonly upToSeq: number;
}

export type Ingested = Omit<IngestSourceResult, 'compactionDue' | 'refreshDue'>;

/** Takes batches into the log of a source. */
export function createIngestion(
  { db, blobs, config, logger, now }: Pick<Dependencies, 'db' | 'blobs' | 'config' | 'logger' | 'now'>,
  upkeep: LogUpkeep,
) {
  return { ingestFromFile, ingestPushed };

  /** The ids of a batch's rows, for the index; null when it has none. */
  async function indexOf(
    source: SourceSpec,
    batchId: string,
    files: readonly LogFile[],
    duckdb: DuckDb,
  ): Promise<EventIndexFile | null> {
    if (files.length === 0) return null;
    return indexLogFiles({
      source,
      files,
      blobs,
      duckdb,
      path: join(config.workDir, `${batchId}-${randomUUID()}-index`),
    });
  }

  async function ingestFromFile(
    { source, keys, batchId, input }: FileBatch,
    { signal, progress }: Beating,
  ): Promise<Ingested> {
    const inputSha256 = await digestOfFile(input.path);
    const done = await findBatch(db, source.name, batchId);
    if (done !== undefined && done.inputSha256 === inputSha256) return resultOf(done, true);
    for (let attempt = 1; ; attempt += 1) {
      // the files carry the numbers that are next now; they become the log only if those are still next when they are written
      const revision = await forgottenRevision(db, source.name);
      const forgotten = await forgottenOf(source.name);
      const firstSeq = (await getLastSequence(db, source.name)) + 1;
      // the buffer before the log: what is moved from one to the other meanwhile is in both, not in neither
      const buffered = await listUnloggedVersions(db, source.name);
      const existing = await listLogFiles(db, source.name);
      const { result, index } = await withDuckDb(config, async (duckdb) => {
        const result = await ingestFile({
          source,
          keys,
          input,
          batchId,
          firstSeq,
          existing,
          buffered,
          forgotten,
          blobs,
          workDir: config.workDir,
          duckdb,
          signal,
          onProgress: progress,
        });
        return { result, index: await indexOf(source, batchId, result.logFiles, duckdb) };
      });
      const batch = {
        source: source.name,
        batchId,
        inputSha256,
        firstSeq: result.firstSeq,
        lastSeq: result.lastSeq,
        rowsIn: result.rowsIn,
        rowsAccepted: result.rowsAccepted,
        quarantined: result.quarantined,
        quarantineSha256: result.quarantineFile?.sha256 ?? null,
        ingestedAt: now(),
      };
      const committed = await db
        .transaction()
        .execute(async (tx) => {
          if ((await takeSequence(tx, source.name, result.rowsAccepted)) !== firstSeq) throw new SequenceMoved();
          if ((await forgottenRevision(tx, source.name)) !== revision) throw new SequenceMoved();
          await commitBatch(tx, batch, result.logFiles, index);
          return true;
        })
        .catch(async (error: unknown) => {
          await discardForgotten({ source: source.name, batchId, revision }, result.logFiles, batch.quarantineSha256);
          if (error instanceof SequenceMoved && attempt < MAX_RENUMBERINGS) return false;
          throw error;
        });
      if (committed) {
        await upkeep.tidyIndex(source);
        return resultOf(batch, false);
      }
      logger.info(
        { source: source.name, batchId, attempt },
        'other events came in meanwhile; the batch is numbered anew',
      );
    }
  }

  async function ingestPushed(
    { source, batchId, upToSeq }: PushedBatch,
    { signal, progress }: Beating,
  ): Promise<Ingested> {
    const done = await findBatch(db, source.name, batchId);
    if (done !== undefined) return resultOf(done, true);
    const revision = await forgottenRevision(db, source.name);
    const seen = { rows: 0, firstSeq: 0, lastSeq: 0 };
    const { files, index } = await withDuckDb(config, async (duckdb) => {
      const rows = unlogged(source.name, upToSeq, seen, progress);
      const files = await ingestBuffered({ source, rows, batchId, blobs, workDir: config.workDir, duckdb, signal });
      return { files, index: await indexOf(source, batchId, files, duckdb) };
    });
    if (seen.rows === 0) return { rowsIn: 0, rowsAccepted: 0, quarantined: {}, lastSeq: upToSeq, alreadyThere: true };
    const batch = {
      source: source.name,
      batchId,
      inputSha256: sha256([source.name, seen.firstSeq, seen.lastSeq, seen.rows]),
      firstSeq: seen.firstSeq,
      lastSeq: seen.lastSeq,
      rowsIn: seen.rows,
      rowsAccepted: seen.rows,
      quarantined: {},
      quarantineSha256: null,
      ingestedAt: now(),
    };
    await db.transaction().execute(async (tx) => {
      // a push that asked the index before this batch was in it still finds its rows in the buffer
      await lockSequence(tx, source.name);
      await refuseIfLogged(tx, source.name, seen.firstSeq);
      if ((await forgottenRevision(tx, source.name)) !== revision) {
        await discardForgotten({ source: source.name, batchId, revision }, files, null);
        throw new Error(`a key of ${source.name} was forgotten meanwhile: the buffer is read again`);
      }
      await commitBatch(tx, batch, files, index);
      await markLogged(tx, source.name, seen.lastSeq);
    });
    await trimBuffer(db, source.name);
    await upkeep.tidyIndex(source);
    return resultOf(batch, false);
  }

  /** The buffered rows that are not in the log, in pages; counts them into `seen`. */
  async function* unlogged(
    source: string,
    upToSeq: number,
    seen: { rows: number; firstSeq: number; lastSeq: number },
    progress: (rows: number) => void,
  ): AsyncGenerator<StoredBufferedEvent> {
    for (;;) {
      const page = await readBuffer(db, { source, afterSeq: seen.lastSeq, unloggedUpTo: upToSeq, limit: BUFFER_PAGE });
      for (const event of page) {
        if (seen.rows === 0) seen.firstSeq = event.seq;
        seen.rows += 1;
        seen.lastSeq = event.seq;
        yield event;
      }
      progress(seen.rows);
      if (page.length < BUFFER_PAGE) return;
    }
  }

  async function forgottenOf(source: string): Promise<NonNullable<Parameters<typeof ingestFile>[0]['forgotten']>> {
    const forgotten = await listForgottenKeys(db, source);
    return forgotten.map(({ columns, salt, digests }) => ({ columns: columns.map(({ name }) => name), salt, digests }));
  }

  /** Files of a batch that did not become part of the log go, if a key was forgotten since: they may hold it. */
  async function discardForgotten(
    { source, batchId, revision }: { source: string; batchId: string; revision: number },
    files: readonly LogFile[],
    quarantineSha256: string | null,
  ): Promise<void> {
    if ((await forgottenRevision(db, source)) === revision) return;
    // another attempt may have committed the same bytes before
    if ((await findBatch(db, source, batchId)) !== undefined) return;
    for (const { blob } of files) await blobs.remove(blob);
    if (quarantineSha256 !== null) await blobs.remove({ sha256: quarantineSha256 });
  }

  /** Two flushes of a source at a time read the same rows; the one that commits second has to read again. */
  async function refuseIfLogged(tx: Db, source: string, seq: number): Promise<void> {
    const [row] = await readBuffer(tx, { source, afterSeq: seq - 1, unloggedUpTo: seq, limit: 1 });
    if (row === undefined)
      throw new Error(`event ${seq} of ${source} was written to the log by another flush meanwhile`);
  }
}

function resultOf(
  batch: { rowsIn: number; rowsAccepted: number; quarantined: Readonly<Record<string, number>>; lastSeq: number },
  alreadyThere: boolean,
): Ingested {
  const { rowsIn, rowsAccepted, quarantined, lastSeq } = batch;
  return { rowsIn, rowsAccepted, quarantined, lastSeq, alreadyThere };
}

async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(path), hash);
  } catch (error) {
    throw new SerinError(
      'INPUT_INVALID',
      `the file ${path} cannot be read by the worker: ${(error as Error).message}`,
      { cause: error },
    );
  }
  return hash.digest('hex');
}
