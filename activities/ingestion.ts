import { log } from '@temporalio/activity';
import { createReadStream } from 'node:fs';
import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import {
  commitBatch,
  findBatch,
  getLastSequence,
  listLogFiles,
  markLogged,
  readBuffer,
  type StoredBufferedEvent,
  takeSequence,
  trimBuffer,
} from '../db/ingest.ts';
import { getProjectOfSource } from '../db/projects.ts';
import { SerinError } from '../domain/errors.ts';
import type { SourceSpec } from '../domain/project/spec.ts';
import { DuckDb } from '../features/offline/duckdb.ts';
import { ingestBuffered, ingestFile } from '../features/offline/ingest.ts';
import type { IngestSourceInput, IngestSourceResult } from '../workflows/messages.ts';
import { type Dependencies, duckdbSettings, sha256 } from './dependencies.ts';
import { withHeartbeat } from './heartbeat.ts';

/** Buffered events are read in pages, so that a long buffer does not fill the memory twice. */
const BUFFER_PAGE = 20_000;

/** A source that is pushed to all the time could take the numbers away each time; after this many the activity's own retry waits. */
const MAX_RENUMBERINGS = 5;

class SequenceMoved extends Error {}

export function createIngestionActivities({ db, blobs, config, now }: Dependencies) {
  const openDuckDb = () => DuckDb.open(duckdbSettings(config));

  return {
    /**
     * Files are written first and become the log in one transaction, keyed by the batch: a retry either finds the batch done or
     * writes anew, and what an earlier attempt wrote is never visible.
     */
    async ingestBatch({ source: name, batchId, input }: IngestSourceInput): Promise<IngestSourceResult> {
      const { spec } = await getProjectOfSource(db, name);
      const source = spec.sources.find((each) => each.name === name)!;
      return input.kind === 'file'
        ? ingestFromFile(source, batchId, input)
        : ingestPushed(source, batchId, input.upToSeq);
    },
  };

  async function ingestFromFile(
    source: SourceSpec,
    batchId: string,
    input: { path: string; format: 'parquet' | 'csv' | 'jsonl' },
  ): Promise<IngestSourceResult> {
    return withHeartbeat(async ({ signal, progress }) => {
      const inputSha256 = await digestOfFile(input.path);
      const done = await findBatch(db, source.name, batchId);
      if (done !== undefined && done.inputSha256 === inputSha256) return resultOf(done, true);
      for (let attempt = 1; ; attempt += 1) {
        // the files carry the numbers that are next now; they become the log only if those are still next when they are written
        const firstSeq = (await getLastSequence(db, source.name)) + 1;
        const existing = await listLogFiles(db, source.name);
        const duckdb = await openDuckDb();
        const result = await ingestFile({
          source,
          input,
          batchId,
          firstSeq,
          existing,
          blobs,
          workDir: config.workDir,
          duckdb,
          signal,
          onProgress: progress,
        }).finally(() => duckdb.close());
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
            await commitBatch(tx, batch, result.logFiles);
            return true;
          })
          .catch((error: unknown) => {
            if (error instanceof SequenceMoved && attempt < MAX_RENUMBERINGS) return false;
            throw error;
          });
        if (committed) return resultOf(batch, false);
        log.info('other events came in meanwhile; the batch is numbered anew', {
          source: source.name,
          batchId,
          attempt,
        });
      }
    });
  }

  async function ingestPushed(source: SourceSpec, batchId: string, upToSeq: number): Promise<IngestSourceResult> {
    return withHeartbeat(async ({ signal, progress }) => {
      const done = await findBatch(db, source.name, batchId);
      if (done !== undefined) return resultOf(done, true);
      const events: StoredBufferedEvent[] = [];
      for (let afterSeq = 0; ; afterSeq = events.at(-1)!.seq) {
        const page = await readBuffer(db, { source: source.name, afterSeq, unloggedUpTo: upToSeq, limit: BUFFER_PAGE });
        events.push(...page);
        progress(events.length);
        if (page.length < BUFFER_PAGE) break;
      }
      const [first, last] = [events[0], events.at(-1)];
      if (first === undefined || last === undefined) {
        return { rowsIn: 0, rowsAccepted: 0, quarantined: {}, lastSeq: upToSeq, alreadyThere: true };
      }
      const duckdb = await openDuckDb();
      const file = await ingestBuffered({
        source,
        rows: events,
        batchId,
        blobs,
        workDir: config.workDir,
        duckdb,
        signal,
      }).finally(() => duckdb.close());
      const batch = {
        source: source.name,
        batchId,
        inputSha256: sha256([source.name, first.seq, last.seq, events.length]),
        firstSeq: first.seq,
        lastSeq: last.seq,
        rowsIn: events.length,
        rowsAccepted: events.length,
        quarantined: {},
        quarantineSha256: null,
        ingestedAt: now(),
      };
      await db.transaction().execute(async (tx) => {
        await commitBatch(tx, batch, file === null ? [] : [file]);
        await markLogged(tx, source.name, last.seq);
      });
      await trimBuffer(db, source.name);
      return resultOf(batch, false);
    });
  }
}

function resultOf(
  batch: { rowsIn: number; rowsAccepted: number; quarantined: Readonly<Record<string, number>>; lastSeq: number },
  alreadyThere: boolean,
): IngestSourceResult {
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
