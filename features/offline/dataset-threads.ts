/** The threads that do the work of one build, and who may have which. */
import { Worker } from 'node:worker_threads';
import { compiledModule } from '../../domain/compiled-module.ts';
import { SerinError } from '../../domain/errors.ts';
import type { DatasetJob, DatasetTask, TaskResults } from './dataset-job.ts';
import { answerOf } from './thread-answer.ts';

/** A fixed number of threads at most, started when there is work for them; each does one task at a time. */
export class DatasetThreads {
  readonly #job: DatasetJob;
  readonly #signal: AbortSignal | undefined;
  readonly #abort = (): void => {
    for (const worker of this.#all) worker.postMessage('abort');
  };
  readonly #all = new Set<Worker>();
  readonly #idle: Worker[] = [];
  readonly #running = new Set<Promise<unknown>>();
  readonly #waiting: ((worker: Worker | null) => void)[] = [];
  readonly #most: number;

  constructor(job: DatasetJob, most: number, signal: AbortSignal | undefined) {
    this.#job = job;
    this.#most = most;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#abort);
  }

  /**
   * @param onRows told how many rows of the task have gone by, over and over
   * @throws what the task refuses, CANCELLED when the signal was aborted
   */
  async run<K extends DatasetTask['kind']>(
    task: Extract<DatasetTask, { kind: K }>,
    onRows?: (rows: number) => void,
  ): Promise<TaskResults[K]> {
    const worker = await this.#take();
    const result = answerOf<TaskResults[K]>(worker, 'dataset', onRows);
    worker.postMessage(task);
    this.#running.add(result);
    try {
      return await result;
    } finally {
      this.#running.delete(result);
      this.#giveBack(worker);
    }
  }

  /** Ends what is under way. A thread that is ended inside of DuckDB would take the process with it, so each may finish. */
  async close(): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#abort);
    for (const next of this.#waiting.splice(0)) next(null);
    this.#abort();
    await Promise.allSettled(this.#running);
    await Promise.all([...this.#all].map((worker) => worker.terminate()));
  }

  async #take(): Promise<Worker> {
    // a thread that is only now started has not heard of it
    if (this.#signal?.aborted) throw cancelled();
    const idle = this.#idle.pop();
    if (idle) return idle;
    if (this.#all.size < this.#most) {
      const worker = new Worker(new URL(compiledModule(import.meta.url, './dataset-thread.ts')), {
        workerData: this.#job,
      });
      this.#all.add(worker);
      return worker;
    }
    const next = await new Promise<Worker | null>((resolve) => this.#waiting.push(resolve));
    if (next === null || this.#signal?.aborted) {
      if (next) this.#giveBack(next);
      throw cancelled();
    }
    return next;
  }

  #giveBack(worker: Worker): void {
    const next = this.#waiting.shift();
    if (next) next(worker);
    else this.#idle.push(worker);
  }
}

export function cancelled(): SerinError {
  return new SerinError('CANCELLED', 'the dataset build was cancelled');
}
