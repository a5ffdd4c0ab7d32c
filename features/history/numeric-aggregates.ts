/**
 * Sums and moments. Whole numbers and truth values (0 and 1) are summed as integers of any size, doubles without rounding
 * (`exact-sum.ts`); a mean, a variance or a deviation is the exact value, rounded once. NaN makes every result NaN, and so
 * do infinities of both signs; any infinity makes a variance NaN.
 */
import type { Accumulator } from './aggregates.ts';
import type { ByteReader, ByteWriter } from './byte-stream.ts';
import { ExactSum } from './exact-sum.ts';
import type { Datum } from './fact.ts';
import type { HistoryOutput, OutputValue } from './plan.ts';
import { roundRatio, roundSquareRoot } from './rounding.ts';

function square(value: number | bigint): number | bigint {
  const small = typeof value === 'number' ? value * value : Infinity;
  return Number.isSafeInteger(small) ? small : BigInt(value) * BigInt(value);
}

/** A number where that is exact, a bigint beyond. */
class WholeSum {
  #small = 0;
  #big = 0n;

  add(value: number | bigint): void {
    if (typeof value === 'number') {
      const sum = this.#small + value;
      if (Number.isSafeInteger(sum)) {
        this.#small = sum;
        return;
      }
    }
    this.#big += BigInt(value);
  }

  remove(value: number | bigint): void {
    this.add(-value);
  }

  merge(other: WholeSum): void {
    this.add(other.#small);
    this.#big += other.#big;
  }

  get value(): number | bigint {
    if (this.#big === 0n) return this.#small;
    const sum = this.#big + BigInt(this.#small);
    const small = Number(sum);
    return Number.isSafeInteger(small) ? small : sum;
  }

  static read(from: ByteReader): WholeSum {
    const sum = new WholeSum();
    sum.add(from.whole());
    return sum;
  }
}

export class WholeTotal implements Accumulator {
  #count = 0;
  #sum = new WholeSum();

  add(value: Datum): void {
    if (value === null) return;
    this.#count++;
    this.#sum.add(wholeOf(value));
  }

  remove(value: Datum): void {
    if (value === null) return;
    this.#count--;
    this.#sum.remove(wholeOf(value));
  }

  merge(other: WholeTotal): void {
    this.#count += other.#count;
    this.#sum.merge(other.#sum);
  }

  result({ fn }: HistoryOutput): OutputValue {
    if (this.#count === 0) return null;
    const sum = this.#sum.value;
    if (fn === 'sum') return sum;
    return typeof sum === 'number' ? sum / this.#count : roundRatio(sum, BigInt(this.#count));
  }

  write(out: ByteWriter): void {
    out.unsigned(this.#count);
    out.whole(this.#sum.value);
  }

  static read(this: void, from: ByteReader): WholeTotal {
    const total = new WholeTotal();
    total.#count = from.unsigned();
    total.#sum = WholeSum.read(from);
    return total;
  }
}

export class WholeMoments implements Accumulator {
  #count = 0;
  #sum = new WholeSum();
  #squares = new WholeSum();

  add(value: Datum): void {
    if (value === null) return;
    this.#count++;
    this.#sum.add(wholeOf(value));
    this.#squares.add(square(wholeOf(value)));
  }

  remove(value: Datum): void {
    if (value === null) return;
    this.#count--;
    this.#sum.remove(wholeOf(value));
    this.#squares.remove(square(wholeOf(value)));
  }

  merge(other: WholeMoments): void {
    this.#count += other.#count;
    this.#sum.merge(other.#sum);
    this.#squares.merge(other.#squares);
  }

  result({ fn }: HistoryOutput): OutputValue {
    const sum = BigInt(this.#sum.value);
    return spread(fn, this.#count, BigInt(this.#count) * BigInt(this.#squares.value) - sum * sum, 0);
  }

  write(out: ByteWriter): void {
    out.unsigned(this.#count);
    out.whole(this.#sum.value);
    out.whole(this.#squares.value);
  }

  static read(this: void, from: ByteReader): WholeMoments {
    const moments = new WholeMoments();
    moments.#count = from.unsigned();
    moments.#sum = WholeSum.read(from);
    moments.#squares = WholeSum.read(from);
    return moments;
  }
}

/** How many values are not finite, and what they make of a sum. */
class Special {
  nan = 0;
  plus = 0;
  minus = 0;

  add(value: number, times: 1 | -1): void {
    if (value > 0) this.plus += times;
    else if (value < 0) this.minus += times;
    else this.nan += times;
  }

  merge(other: Special): void {
    this.nan += other.nan;
    this.plus += other.plus;
    this.minus += other.minus;
  }

  get none(): boolean {
    return this.nan + this.plus + this.minus === 0;
  }

  get sum(): number {
    if (this.nan > 0 || (this.plus > 0 && this.minus > 0)) return NaN;
    return this.plus > 0 ? Infinity : -Infinity;
  }

  write(out: ByteWriter): void {
    out.unsigned(this.nan);
    out.unsigned(this.plus);
    out.unsigned(this.minus);
  }

  read(from: ByteReader): void {
    this.nan = from.unsigned();
    this.plus = from.unsigned();
    this.minus = from.unsigned();
  }
}

export class FloatTotal implements Accumulator {
  #count = 0;
  #sum = new ExactSum();
  readonly #special = new Special();

  add(value: Datum): void {
    if (value === null) return;
    this.#count++;
    if (Number.isFinite(value)) this.#sum.add(value as number);
    else this.#special.add(value as number, 1);
  }

  remove(value: Datum): void {
    if (value === null) return;
    this.#count--;
    if (Number.isFinite(value)) this.#sum.add(-(value as number));
    else this.#special.add(value as number, -1);
  }

  merge(other: FloatTotal): void {
    this.#count += other.#count;
    this.#sum.merge(other.#sum);
    this.#special.merge(other.#special);
  }

  result({ fn }: HistoryOutput): OutputValue {
    if (this.#count === 0) return null;
    if (!this.#special.none) return this.#special.sum;
    return (fn === 'sum' ? this.#sum.rounded() : this.#sum.over(this.#count)) + 0;
  }

  write(out: ByteWriter): void {
    out.unsigned(this.#count);
    this.#special.write(out);
    this.#sum.write(out);
  }

  static read(this: void, from: ByteReader): FloatTotal {
    const total = new FloatTotal();
    total.#count = from.unsigned();
    total.#special.read(from);
    total.#sum = ExactSum.read(from);
    return total;
  }
}

export class FloatMoments implements Accumulator {
  #count = 0;
  #sum = new ExactSum();
  #squares = new ExactSum();
  readonly #special = new Special();

  add(value: Datum): void {
    if (value === null) return;
    this.#count++;
    if (Number.isFinite(value)) {
      this.#sum.add(value as number);
      this.#squares.addSquare(value as number);
    } else this.#special.add(value as number, 1);
  }

  remove(value: Datum): void {
    if (value === null) return;
    this.#count--;
    if (Number.isFinite(value)) {
      this.#sum.add(-(value as number));
      this.#squares.removeSquare(value as number);
    } else this.#special.add(value as number, -1);
  }

  merge(other: FloatMoments): void {
    this.#count += other.#count;
    this.#sum.merge(other.#sum);
    this.#squares.merge(other.#squares);
    this.#special.merge(other.#special);
  }

  result({ fn }: HistoryOutput): OutputValue {
    if (!this.#special.none) return this.#count < leastCount(fn) ? null : NaN;
    const sum = this.#sum.exact();
    const squares = this.#squares.exact();
    const exponent = Math.min(squares.exponent, 2 * sum.exponent);
    const first = (BigInt(this.#count) * squares.mantissa) << BigInt(squares.exponent - exponent);
    const second = (sum.mantissa * sum.mantissa) << BigInt(2 * sum.exponent - exponent);
    return spread(fn, this.#count, first - second, exponent);
  }

  write(out: ByteWriter): void {
    out.unsigned(this.#count);
    this.#special.write(out);
    this.#sum.write(out);
    this.#squares.write(out);
  }

  static read(this: void, from: ByteReader): FloatMoments {
    const moments = new FloatMoments();
    moments.#count = from.unsigned();
    moments.#special.read(from);
    moments.#sum = ExactSum.read(from);
    moments.#squares = ExactSum.read(from);
    return moments;
  }
}

function leastCount(fn: HistoryOutput['fn']): number {
  return fn === 'variance_samp' || fn === 'stddev_samp' ? 2 : 1;
}

/**
 *   population (n·Σx² − (Σx)²) / n²      sample (n·Σx² − (Σx)²) / (n·(n − 1)), null below two values
 *
 * @param deviation n·Σx² − (Σx)² in units of 2^exponent, exact and so never negative
 */
function spread(fn: HistoryOutput['fn'], count: number, deviation: bigint, exponent: number): number | null {
  const least = leastCount(fn);
  if (count < least) return null;
  const n = BigInt(count);
  const divisor = least === 2 ? n * (n - 1n) : n * n;
  return fn === 'stddev_pop' || fn === 'stddev_samp'
    ? roundSquareRoot(deviation, divisor, exponent)
    : roundRatio(deviation, divisor, exponent);
}

function wholeOf(value: NonNullable<Datum>): number | bigint {
  return typeof value === 'boolean' ? Number(value) : (value as number | bigint);
}
