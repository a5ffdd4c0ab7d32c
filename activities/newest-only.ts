/** Works on one item at a time; of those that come in meanwhile only the newest is taken up, the others are passed over. */
export class NewestOnly<T> {
  readonly #take: (item: T) => Promise<void>;
  #waiting: { readonly item: T } | undefined;
  #working: Promise<void> | undefined;

  /** @param take does not reject: it deals with its own failures */
  constructor(take: (item: T) => Promise<void>) {
    this.#take = take;
  }

  offer(item: T): void {
    this.#waiting = { item };
    this.#working ??= this.#work();
  }

  /** Resolves when nothing is worked on or waits. */
  async settled(): Promise<void> {
    await this.#working;
  }

  async #work(): Promise<void> {
    for (let next = this.#waiting; next !== undefined; next = this.#waiting) {
      this.#waiting = undefined;
      await this.#take(next.item);
    }
    this.#working = undefined;
  }
}
