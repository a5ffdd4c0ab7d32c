import { type BatcherOptions, MicroBatcher, type QueuedWork } from './micro-batcher.ts';

/**
 * The queues of a process with several models: one for all that compute on the event loop, which share its time anyway, and
 * one for each model that computes in a thread, so that nobody else's rows wait for it.
 */
export class ModelQueues<Work extends QueuedWork> {
  readonly #options: BatcherOptions<Work>;
  readonly #isOffLoop: (model: string) => boolean;
  readonly #shared: MicroBatcher<Work>;
  readonly #own = new Map<string, MicroBatcher<Work>>();

  /** @param isOffLoop asked at each piece of work, since the champion of a model may change */
  constructor(options: BatcherOptions<Work>, isOffLoop: (model: string) => boolean) {
    this.#options = options;
    this.#isOffLoop = isOffLoop;
    this.#shared = new MicroBatcher(options);
  }

  /** Rows that wait for the event loop. */
  get queuedRows(): number {
    return this.#shared.queuedRows;
  }

  batcherOf(model: string): MicroBatcher<Work> {
    if (!this.#isOffLoop(model)) return this.#shared;
    let own = this.#own.get(model);
    if (own === undefined) this.#own.set(model, (own = new MicroBatcher(this.#options)));
    return own;
  }

  all(): MicroBatcher<Work>[] {
    return [this.#shared, ...this.#own.values()];
  }

  async whenIdle(): Promise<void> {
    await Promise.all(this.all().map((batcher) => batcher.whenIdle()));
  }
}
