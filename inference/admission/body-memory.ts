import type { Refusal } from './refusal.ts';

const RETRY_AFTER_MS = 1_000;

/**
 * What the bodies of a process may take together, beside the bound of each: a thousand connections with 64 MiB each would end
 * it. Counted is what has come, not what was announced, which costs a client nothing.
 */
export class BodyMemory {
  readonly #limitBytes: number;
  #heldBytes = 0;

  /** @param limitBytes 0: no bound */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes === 0 ? Infinity : limitBytes;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** @returns null: they are held until they are let go */
  hold(bytes: number): Refusal | null {
    if (this.#heldBytes + bytes > this.#limitBytes) {
      const [held, limit] = [this.#heldBytes, this.#limitBytes].map((size) => (size / 2 ** 20).toFixed(1));
      return {
        reason: 'memory',
        detail: `the bodies that are being read and answered hold ${held} MiB of the ${limit} that they may (SERIN_INFERENCE_BODY_MEMORY_MIB); send smaller ones, or fewer at once`,
        retryAfterMs: RETRY_AFTER_MS,
      };
    }
    this.#heldBytes += bytes;
    return null;
  }

  letGo(bytes: number): void {
    this.#heldBytes -= bytes;
  }
}
