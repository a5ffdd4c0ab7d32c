/** Latencies in bins that grow by 2 %: quantiles within that of the truth, in constant memory. */
export class LatencyHistogram {
  readonly #bins = new Uint32Array(1_200);
  #count = 0;

  record(ms: number): void {
    const bin = Math.round(Math.log(Math.max(ms, LEAST_MS) / LEAST_MS) / Math.log(GROWTH));
    this.#bins[Math.min(bin, this.#bins.length - 1)]! += 1;
    this.#count += 1;
  }

  /** @param q in [0, 1] @returns milliseconds; NaN without a record */
  quantile(q: number): number {
    let left = Math.ceil(q * this.#count);
    if (left === 0) return Number.NaN;
    for (const [bin, count] of this.#bins.entries()) {
      left -= count;
      if (left <= 0) return LEAST_MS * GROWTH ** bin;
    }
    return Number.NaN;
  }
}

const LEAST_MS = 0.01;
const GROWTH = 1.02;
