/** Entry of the dataset thread: the replay is plain computation and would hold up whoever awaits it. */
import { parentPort, workerData } from 'node:worker_threads';
import { SerinError } from '../../domain/errors.ts';
import type { DatasetJob, ThreadMessage } from './dataset-job.ts';
import { makeDatasetFile } from './dataset-table.ts';
import { DuckDb } from './duckdb.ts';

const PROGRESS_EVERY_MS = 200;

async function main(job: DatasetJob): Promise<void> {
  const port = parentPort!;
  let duckdb: DuckDb | undefined;
  let aborted = false;
  let reportedAt = 0;
  port.on('message', () => {
    aborted = true;
    duckdb?.interrupt();
  });
  let last: ThreadMessage;
  try {
    duckdb = await DuckDb.open(job.duckdb);
    const result = await makeDatasetFile(duckdb, job, (done, total) => {
      if (aborted) throw cancelled();
      if (performance.now() - reportedAt < PROGRESS_EVERY_MS && done < total) return;
      reportedAt = performance.now();
      port.postMessage({ type: 'progress', done, total } satisfies ThreadMessage);
    });
    last = { type: 'done', result };
  } catch (error) {
    last = messageOf(aborted ? cancelled() : error);
  } finally {
    duckdb?.close();
  }
  // the caller ends the thread when it hears this, so the database is closed by now
  port.postMessage(last);
  port.close();
}

function messageOf(error: unknown): ThreadMessage {
  if (error instanceof SerinError)
    return { type: 'refused', code: error.code, detail: error.message, fields: error.fields };
  return { type: 'crashed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

function cancelled(): SerinError {
  return new SerinError('CANCELLED', 'the dataset build was cancelled');
}

await main(workerData as DatasetJob);
