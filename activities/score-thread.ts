/** The thread that scores one part, from the side of its owner. */
import { Worker } from 'node:worker_threads';
import { compiledModule } from '../domain/compiled-module.ts';
import { SerinError } from '../domain/errors.ts';
import type { ScoredRows, ScoreJob, ScoreThreadMessage } from '../domain/scoring/score-job.ts';

/** @throws what the part is refused with; CANCELLED when the signal was aborted */
export async function scoreInThread(
  job: ScoreJob,
  signal: AbortSignal,
  onRows: (rows: number) => void,
): Promise<ScoredRows> {
  signal.throwIfAborted();
  const worker = new Worker(new URL(compiledModule(import.meta.url, '../inference/batch/score-thread.ts')), {
    workerData: job,
  });
  // it ends by itself: a thread that is ended inside of DuckDB would take the process with it
  const abort = (): void => worker.postMessage('abort');
  signal.addEventListener('abort', abort);
  try {
    return await new Promise<ScoredRows>((resolve, reject) => {
      worker.on('message', (message: ScoreThreadMessage) => {
        switch (message.type) {
          case 'progress':
            onRows(message.rows);
            return;
          case 'done':
            resolve(message.result);
            return;
          case 'refused':
            reject(new SerinError(message.code, message.detail, { fields: message.fields }));
            return;
          case 'crashed':
            reject(new Error(`the scoring thread crashed: ${message.message}`));
        }
      });
      worker.on('error', reject);
      worker.on('exit', (code) => reject(new Error(`the scoring thread ended with ${code} and no result`)));
    });
  } finally {
    signal.removeEventListener('abort', abort);
    await worker.terminate();
  }
}
