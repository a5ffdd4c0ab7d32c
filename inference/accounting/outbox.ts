export interface OutboxOptions<Item> {
  /** Sends a batch; a batch that fails is sent again, so sending must be idempotent. */
  readonly send: (batch: readonly Item[]) => Promise<void>;
  readonly maxItems: number;
  readonly maxBatch: number;
  readonly everyMs: number;
  readonly onDrop: (items: number) => void;
  readonly onFailure: (error: unknown) => void;
}

/**
 * A bounded buffer that is written in the background and kept while nobody takes it. When it is full new items are
 * dropped and counted: what answers requests never waits for what records them.
 */
export class Outbox<Item> {
  readonly #options: OutboxOptions<Item>;
  readonly #timer: NodeJS.Timeout;
  #items: Item[] = [];
  #sending: Promise<void> | undefined;

  constructor(options: OutboxOptions<Item>) {
    this.#options = options;
    this.#timer = setInterval(() => void this.flush(), options.everyMs);
    this.#timer.unref();
  }

  get size(): number {
    return this.#items.length;
  }

  /** Says that there is no room where there is none, and counts it: what would be added need not be made. */
  takes(): boolean {
    if (this.#items.length < this.#options.maxItems) return true;
    this.#options.onDrop(1);
    return false;
  }

  add(item: Item): void {
    if (this.#items.length >= this.#options.maxItems) this.#options.onDrop(1);
    else this.#items.push(item);
  }

  /** Sends what is buffered; one at a time, later calls join the one under way. A failure is kept for the next time. */
  flush(): Promise<void> {
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
    return this.#sending;
  }

  /** Stops and sends what is left, once. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#sending;
    await this.flush();
  }

  async #sendAll(): Promise<void> {
    while (this.#items.length > 0) {
      const batch = this.#items.slice(0, this.#options.maxBatch);
      try {
        await this.#options.send(batch);
      } catch (error) {
        this.#options.onFailure(error);
        return;
      }
      this.#items.splice(0, batch.length);
    }
  }
}
