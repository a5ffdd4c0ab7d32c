/** Entry of the dataset thread: the replay is plain computation and would hold up whoever awaits it. */
import { parentPort, workerData } from 'node:worker_threads';
import { SerinError } from '../../domain/errors.ts';
import type { DatasetJob, ThreadMessage } from './dataset-job.ts';
import { makeDatasetFile } from './dataset-table.ts';
import { DuckDb } from './duckdb.ts';

const PROGRESS_EVERY_MS = 200;

async function main(job: DatasetJob): Promise<void> {
  const send = (message: ThreadMessage): void => parentPort!.postMessage(message);
  let duckdb: DuckDb | undefined;
  let aborted = false;
  let reportedAt = 0;
  parentPort!.on('message', () => {
    aborted = true;
    duckdb?.interrupt();
  });
  try {
    duckdb = await DuckDb.open(job.duckdb);
    const result = await makeDatasetFile(duckdb, job, (done, total) => {
      if (aborted) throw cancelled();
      if (performance.now() - reportedAt < PROGRESS_EVERY_MS && done < total) return;
      reportedAt = performance.now();
      send({ type: 'progress', done, total });
    });
    send({ type: 'done', result });
  } catch (error) {
    const refusal = aborted ? cancelled() : error;
    if (refusal instanceof SerinError)
      send({ type: 'refused', code: refusal.code, detail: refusal.message, fields: refusal.fields });
    else send({ type: 'crashed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  } finally {
    duckdb?.close();
    parentPort!.close();
  }
}

function cancelled(): SerinError {
  return new SerinError('CANCELLED', 'the dataset build was cancelled');
}

await main(workerData as DatasetJob);
