/** Entry of the thread that scores one part: it would hold up whoever awaits it. */
import { parentPort, workerData } from 'node:worker_threads';
import { SerinError } from '../../domain/errors.ts';
import type { ScoreJob } from '../../domain/scoring/score-job.ts';
import { ThreadWork } from '../../features/offline/thread-work.ts';
import { firstLine } from './input-sql.ts';
import { scorePart } from './score-part.ts';

const job = workerData as ScoreJob;
const port = parentPort!;
const thread = new ThreadWork(port, () => new SerinError('CANCELLED', 'the scoring was cancelled'));

port.on('message', () => thread.abort());
await thread.carryOut(
  { duckdb: { ...job.duckdb, threads: 1 }, outOfMemory: 'the part cannot be scored' },
  (duckdb, onRows) =>
    scorePart(duckdb, job, onRows).catch((error: unknown) => {
      throw isOfInput(error)
        ? new SerinError('INPUT_INVALID', `the input cannot be scored: ${firstLine(error)}`, { cause: error })
        : error;
    }),
);
port.close();

function isOfInput(error: unknown): boolean {
  return error instanceof Error && /^(Invalid Input|Conversion|Out of Range) Error/.test(error.message);
}
