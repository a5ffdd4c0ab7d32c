export interface TimeBudgetLimits {
  /** Of all time, 0…1. */
  readonly share: number;
  /** Pieces up to this long cost what they take; a longer one costs as many times more as it is longer. */
  readonly pieceMs: number;
  /** What may have been saved up in quiet times. */
  readonly burstMs: number;
}

/**
 * What somebody may take of a thread that has more important things to do. Whoever arrives while a piece of length c runs
 * waits c/2 on average, and as many arrive as its share of the time: a share of short pieces moves no tail, long pieces do
 * by their length. So a long piece is paid for by its square, and then there is none for a while: what is left to spend may
 * fall below nothing.
 */
export class TimeBudget {
  readonly #limits: TimeBudgetLimits;
  #leftMs: number;
  #atMs: number;

  constructor(limits: TimeBudgetLimits, nowMs: number) {
    this.#limits = limits;
    this.#leftMs = limits.burstMs;
    this.#atMs = nowMs;
  }

  hasSome(nowMs: number): boolean {
    this.#earn(nowMs);
    return this.#leftMs > 0;
  }

  spend(nowMs: number, pieceMs: number): void {
    this.#earn(nowMs);
    this.#leftMs -= pieceMs * Math.max(1, pieceMs / this.#limits.pieceMs);
  }

  #earn(nowMs: number): void {
    const { share, burstMs } = this.#limits;
    this.#leftMs = Math.min(burstMs, this.#leftMs + (nowMs - this.#atMs) * share);
    this.#atMs = nowMs;
  }
}
