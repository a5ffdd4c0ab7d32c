/** The thread that scores one part, from the side of its owner. */
import { Worker } from 'node:worker_threads';
import { compiledModule } from '../domain/compiled-module.ts';
import type { ScoredRows, ScoreJob } from '../domain/scoring/score-job.ts';
import { answerOf } from '../features/offline/thread-answer.ts';

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
    return await answerOf<ScoredRows>(worker, 'scoring', onRows);
  } finally {
    signal.removeEventListener('abort', abort);
    await worker.terminate();
  }
}
