export interface TimeBudgetLimits {
  /** Of all time, 0…1. */
  readonly share: number;
  /** Pieces up to this long cost what they take; a longer one costs by the cube of how many times longer it is … */
  readonly pieceMs: number;
  /** … up to this many times what it takes. */
  readonly maxFactor: number;
  /** What may have been saved up in quiet times, milliseconds. */
  readonly burstMs: number;
}

/**
 * What somebody may take of a thread that has more important things to do. As many of those who arrive find a piece running
 * as its share of the time says, and wait up to its length: a twentieth of the time in short pieces moves no tail, long
 * pieces may take so little that hardly anybody finds one (decision 16). What is left to spend may fall below nothing: it is
 * known afterwards only what a piece took.
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

  /** @param usualMs how long such a piece is as a rule: by that it is judged to be a long one or not */
  spend(nowMs: number, tookMs: number, usualMs: number): void {
    this.#earn(nowMs);
    const { pieceMs, maxFactor } = this.#limits;
    this.#leftMs -= tookMs * Math.min(maxFactor, Math.max(1, (usualMs / pieceMs) ** 3));
  }

  #earn(nowMs: number): void {
    const { share, burstMs } = this.#limits;
    this.#leftMs = Math.min(burstMs, this.#leftMs + (nowMs - this.#atMs) * share);
    this.#atMs = nowMs;
  }
}

/** How much the last piece counts. */
const SMOOTHING = 0.3;
/** What a piece may take, beyond twice what was usual, before the rest is put down to something else. */
const LEEWAY_MS = 0.25;

/**
 * How long a kind of piece is as a rule. One in a while is interrupted, by the collector, the compiler or another process: it
 * hardly counts. Pieces that are long each time are found out within a dozen.
 */
export class UsualLength {
  #ms = 0;

  /** @returns what is usual, with this piece */
  learn(tookMs: number): number {
    this.#ms += SMOOTHING * (Math.min(tookMs, 2 * this.#ms + LEEWAY_MS) - this.#ms);
    return this.#ms;
  }
}
