import { SerinError } from '../../domain/errors.ts';

export interface BatcherLimits {
  /** A batch takes queued work until it holds this many rows (a single larger piece goes alone). */
  readonly maxBatchRows: number;
  /** Work beyond this many queued rows is refused. */
  readonly maxQueueRows: number;
}

/**
 * Batch while busy: work that arrives while a batch runs waits and becomes the next batch. There is no timer, so an idle
 * server adds one turn of the event loop (in which the other readable sockets are parsed) and a busy one batches by itself.
 */
export class MicroBatcher<Work extends { readonly rows: number }> {
  readonly #run: (batch: readonly Work[]) => Promise<void>;
  readonly #limits: BatcherLimits;
  #queue: Work[] = [];
  #queuedRows = 0;
  #running = false;
  #idle: (() => void)[] = [];
  #submitted = 0;
  #answered = 0;
  #passed: { readonly after: number; readonly resolve: () => void }[] = [];

  /** @param run answers every piece of its batch, failed ones included; it does not throw */
  constructor(run: (batch: readonly Work[]) => Promise<void>, limits: BatcherLimits) {
    this.#run = run;
    this.#limits = limits;
  }

  get queuedRows(): number {
    return this.#queuedRows;
  }

  /** @throws SerinError `OVERLOADED` when the queue has no room for it */
  submit(work: Work): void {
    if (this.#queuedRows + work.rows > this.#limits.maxQueueRows && this.#queuedRows > 0) {
      throw new SerinError(
        'OVERLOADED',
        `${this.#queuedRows} rows are waiting and ${work.rows} more do not fit into ${this.#limits.maxQueueRows}; try again in a second`,
      );
    }
    this.#queue.push(work);
    this.#queuedRows += work.rows;
    this.#submitted++;
    if (!this.#running) {
      this.#running = true;
      setImmediate(() => void this.#drain());
    }
  }

  /** Settles when all that has been submitted by now is answered. */
  whenPassed(): Promise<void> {
    if (!this.#running) return Promise.resolve();
    return new Promise((resolve) => this.#passed.push({ after: this.#submitted, resolve }));
  }

  /** Settles when nothing is queued or running. */
  whenIdle(): Promise<void> {
    if (!this.#running) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#take();
      await this.#run(batch);
      this.#answered += batch.length;
      if (this.#passed.length > 0) this.#letPass();
    }
    this.#running = false;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #letPass(): void {
    const waiting = this.#passed;
    this.#passed = waiting.filter(({ after }) => after > this.#answered);
    for (const { after, resolve } of waiting) if (after <= this.#answered) resolve();
  }

  #take(): Work[] {
    const queue = this.#queue;
    let count = 0;
    let rows = 0;
    while (count < queue.length && (count === 0 || rows + queue[count]!.rows <= this.#limits.maxBatchRows)) {
      rows += queue[count]!.rows;
      count++;
    }
    this.#queuedRows -= rows;
    const batch = count === queue.length ? queue : queue.slice(0, count);
    this.#queue = count === queue.length ? [] : queue.slice(count);
    return batch;
  }
}
