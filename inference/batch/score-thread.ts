/** Entry of the thread that scores one part: it would hold up whoever awaits it. */
import { parentPort, workerData } from 'node:worker_threads';
import { SerinError } from '../../domain/errors.ts';
import type { ScoreJob, ScoreThreadMessage } from '../../domain/scoring/score-job.ts';
import { DuckDb } from '../../features/offline/duckdb.ts';
import { firstLine } from './input-sql.ts';
import { scorePart } from './score-part.ts';

const PROGRESS_EVERY_MS = 200;
/** An interruption ends the statement that runs; one that begins after it is ended by the next. */
const INTERRUPT_EVERY_MS = 50;

const job = workerData as ScoreJob;
const port = parentPort!;
let aborted = false;
let duckdb: DuckDb | undefined;

port.on('message', () => {
  aborted = true;
  setInterval(() => duckdb?.interrupt(), INTERRUPT_EVERY_MS).unref();
});
// the database is closed when the owner hears of the end, since it may end the thread then
port.postMessage(await work());
port.close();

async function work(): Promise<ScoreThreadMessage> {
  let gone = 0;
  let reportedAt = 0;
  const onRows = (rows: number): void => {
    if (aborted) throw cancelled();
    gone += rows;
    if (performance.now() - reportedAt < PROGRESS_EVERY_MS) return;
    reportedAt = performance.now();
    port.postMessage({ type: 'progress', rows: gone } satisfies ScoreThreadMessage);
  };
  try {
    duckdb = await DuckDb.open({ ...job.duckdb, threads: 1 });
    return { type: 'done', result: await scorePart(duckdb, job, onRows) };
  } catch (error) {
    return messageOf(aborted ? cancelled() : error);
  } finally {
    duckdb?.close();
    duckdb = undefined;
  }
}

function cancelled(): SerinError {
  return new SerinError('CANCELLED', 'the scoring was cancelled');
}

function messageOf(error: unknown): ScoreThreadMessage {
  if (error instanceof SerinError)
    return { type: 'refused', code: error.code, detail: error.message, fields: error.fields };
  const { memory } = job.duckdb;
  if (error instanceof Error && error.message.startsWith('Out of Memory')) {
    const detail = `the part cannot be scored within ${memory} of memory: raise SERIN_DUCKDB_MEMORY (${firstLine(error)})`;
    return { type: 'refused', code: 'MEMORY_LIMIT', detail, fields: { memory } };
  }
  if (error instanceof Error && /^(Invalid Input|Conversion|Out of Range) Error/.test(error.message))
    return {
      type: 'refused',
      code: 'INPUT_INVALID',
      detail: `the input cannot be scored: ${firstLine(error)}`,
      fields: {},
    };
  return { type: 'crashed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}
