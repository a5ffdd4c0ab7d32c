/**
 * Quantiles within a relative error of 1 %: DDSketch (Masson, Rim, Lee 2019). A number x > 0 is counted in the bucket
 * i = ⌈log_γ x⌉ with γ = 1.01/0.99, and read as 2γ^i/(γ + 1); negative numbers in buckets of their own, zero exactly.
 * Buckets are never merged into one (all doubles fit into 71,000 of them, real data into some hundred), so the sketch
 * depends on the multiset of values alone. In order: −∞, negative, 0, positive, +∞, NaN.
 */
import type { ByteReader, ByteWriter } from './byte-stream.ts';

export const RELATIVE_ERROR = 0.01;
const GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR);
const LOG_GAMMA = Math.log(GAMMA);

export class QuantileSketch {
  readonly #negative = new Map<number, number>();
  readonly #positive = new Map<number, number>();
  /** −∞, 0, +∞, NaN */
  readonly #single = [0, 0, 0, 0];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(value: number): void {
    this.#count++;
    if (value === 0) this.#single[1]!++;
    else if (Number.isFinite(value)) {
      const buckets = value > 0 ? this.#positive : this.#negative;
      const bucket = Math.ceil(Math.log(Math.abs(value)) / LOG_GAMMA);
      buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1);
    } else this.#single[value < 0 ? 0 : value > 0 ? 2 : 3]!++;
  }

  merge(other: QuantileSketch): void {
    this.#count += other.#count;
    for (const [bucket, count] of other.#positive)
      this.#positive.set(bucket, (this.#positive.get(bucket) ?? 0) + count);
    for (const [bucket, count] of other.#negative)
      this.#negative.set(bucket, (this.#negative.get(bucket) ?? 0) + count);
    for (let i = 0; i < 4; i++) this.#single[i]! += other.#single[i]!;
  }

  /** The value of rank ⌊q · (count − 1)⌋, counted from 0; there must be one. @param q 0…1 */
  quantile(q: number): number {
    let rank = Math.floor(q * (this.#count - 1));
    if ((rank -= this.#single[0]!) < 0) return -Infinity;
    for (const [bucket, count] of sorted(this.#negative).toReversed()) if ((rank -= count) < 0) return -valueOf(bucket);
    if ((rank -= this.#single[1]!) < 0) return 0;
    for (const [bucket, count] of sorted(this.#positive)) if ((rank -= count) < 0) return valueOf(bucket);
    return rank - this.#single[2]! < 0 ? Infinity : NaN;
  }

  write(out: ByteWriter): void {
    for (const count of this.#single) out.unsigned(count);
    for (const buckets of [this.#negative, this.#positive]) {
      out.unsigned(buckets.size);
      let before = 0;
      for (const [bucket, count] of sorted(buckets)) {
        out.whole(bucket - before);
        out.unsigned(count);
        before = bucket;
      }
    }
  }

  static read(from: ByteReader): QuantileSketch {
    const sketch = new QuantileSketch();
    for (let i = 0; i < 4; i++) sketch.#count += sketch.#single[i] = from.unsigned();
    for (const buckets of [sketch.#negative, sketch.#positive]) {
      let bucket = 0;
      for (let left = from.unsigned(); left > 0; left--) {
        bucket += Number(from.whole());
        const count = from.unsigned();
        buckets.set(bucket, count);
        sketch.#count += count;
      }
    }
    return sketch;
  }
}

function sorted(buckets: ReadonlyMap<number, number>): [number, number][] {
  return [...buckets].toSorted(([a], [b]) => a - b);
}

function valueOf(bucket: number): number {
  // as a product of two powers: γ^i alone leaves the doubles before its bucket does
  const half = Math.trunc(bucket / 2);
  return Math.min(GAMMA ** half * (2 / (GAMMA + 1)) * GAMMA ** (bucket - half), Number.MAX_VALUE);
}
