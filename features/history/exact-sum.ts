/**
 * Sums of doubles without rounding, so that neither the order of the terms nor how they are split into parts matters.
 *
 * The sum is kept as doubles that do not overlap, smallest first (Shewchuk, "Adaptive Precision Floating-Point Arithmetic",
 * 1997, grow-expansion); terms so large that adding them could overflow, and squares whose two parts are no doubles, go into
 * an integer in units of 2^-2148, the square of the smallest double.
 */
import type { ByteReader, ByteWriter } from './byte-stream.ts';
import { type Binary, bitLength, exactOf, roundRatio } from './rounding.ts';

const UNIT = -2148;
/** 2^53 terms below this size have a sum below the largest double. */
const LARGEST_TERM = 2 ** 970;
/** Within these the two parts of a square are doubles, without underflow. */
const LEAST_ROOT = 2 ** -480;
const LARGEST_ROOT = 2 ** 480;
/** 2^27 + 1 (Dekker): splits 53 bits into two halves. */
const SPLITTER = 134217729;

export class ExactSum {
  readonly #parts: number[] = [];
  #rest = 0n;

  /** @param value finite */
  add(value: number): void {
    if (Math.abs(value) > LARGEST_TERM) this.#addExact(exactOf(value));
    else this.#grow(value);
  }

  addSquare(value: number): void {
    this.#addSquare(value, 1);
  }

  removeSquare(value: number): void {
    this.#addSquare(value, -1);
  }

  merge(other: ExactSum): void {
    for (const part of other.#parts) this.#grow(part);
    this.#rest += other.#rest;
  }

  /** The exact sum. */
  exact(): Binary {
    let exponent = this.#rest === 0n ? Infinity : UNIT;
    const parts = this.#parts.map(exactOf);
    for (const part of parts) exponent = Math.min(exponent, part.exponent);
    if (exponent === Infinity) return { mantissa: 0n, exponent: 0 };
    let mantissa = this.#rest;
    for (const part of parts) mantissa += part.mantissa << BigInt(part.exponent - exponent);
    return { mantissa, exponent };
  }

  /** The exact sum, rounded once. */
  rounded(): number {
    const parts = this.#parts;
    if (this.#rest !== 0n) {
      const { mantissa, exponent } = this.exact();
      return roundRatio(mantissa, 1n, exponent);
    }
    let i = parts.length - 1;
    if (i < 0) return 0;
    let high = parts[i]!;
    let low = 0;
    while (i > 0 && low === 0) {
      const next = parts[--i]!;
      const sum = high + next;
      low = next - (sum - high);
      high = sum;
    }
    // exactly half way between two doubles, but for parts that say which way
    if (i > 0 && low !== 0 && low < 0 === parts[i - 1]! < 0) {
      const twice = low * 2;
      const other = high + twice;
      if (other - high === twice) return other;
    }
    return high;
  }

  /** The exact sum over a positive whole number, rounded once. */
  over(count: number): number {
    if (this.#rest === 0n && this.#parts.length <= 1) {
      const sum = this.#parts[0] ?? 0;
      // a division of doubles is rounded once
      return sum / count;
    }
    const quotient = this.#rest === 0n ? this.#quotient(count) : NaN;
    if (!Number.isNaN(quotient)) return quotient;
    const { mantissa, exponent } = this.exact();
    return roundRatio(mantissa, BigInt(count), exponent);
  }

  /**
   * The quotient in doubles, where its remainder shows that no other is as near; NaN where it does not. What is left of the
   * sum after `quotient · count` must be less than half a step of the quotient times `count`.
   */
  #quotient(count: number): number {
    const parts = this.#parts;
    const high = parts[parts.length - 1]!;
    const size = Math.abs(high);
    if (size < LEAST_ROOT || size > LARGEST_ROOT) return NaN;
    let low = 0;
    for (let i = 0; i < parts.length - 1; i++) low += parts[i]!;
    let quotient = high / count;
    quotient += (remainder(high, quotient, count) + low) / count;
    const left = Math.abs(remainder(high, quotient, count) + low);
    // a thousandth is far more than the error of `left`
    return left < halfStep(quotient) * count * 0.999 ? quotient : NaN;
  }

  write(out: ByteWriter): void {
    const { mantissa, exponent } = this.exact();
    if (mantissa === 0n) return out.whole(0);
    // one form of each value: an odd mantissa
    const low = bitLength(mantissa & -mantissa) - 1;
    out.whole(mantissa >> BigInt(low));
    out.whole(exponent + low);
  }

  static read(from: ByteReader): ExactSum {
    const sum = new ExactSum();
    const mantissa = BigInt(from.whole());
    if (mantissa === 0n) return sum;
    const exponent = Number(from.whole());
    const term = roundRatio(mantissa, 1n, exponent);
    const part = Number.isFinite(term) ? exactOf(term) : null;
    // what is one double is kept as one
    if (part && Math.abs(term) <= LARGEST_TERM && equal(part, { mantissa, exponent })) sum.#grow(term);
    else sum.#addExact({ mantissa, exponent });
    return sum;
  }

  #addSquare(value: number, sign: 1 | -1): void {
    const size = Math.abs(value);
    if (value === 0) return;
    if (size < LEAST_ROOT || size > LARGEST_ROOT) {
      const { mantissa, exponent } = exactOf(value);
      this.#addExact({ mantissa: BigInt(sign) * mantissa * mantissa, exponent: 2 * exponent });
      return;
    }
    const square = value * value;
    this.#grow(sign * square);
    this.#grow(sign * productError(value, value, square));
  }

  #addExact({ mantissa, exponent }: Binary): void {
    this.#rest += mantissa << BigInt(exponent - UNIT);
  }

  #grow(value: number): void {
    const parts = this.#parts;
    const { length } = parts;
    let kept = 0;
    for (let i = 0; i < length; i++) {
      const part = parts[i]!;
      // the sum and what rounding took from it, whichever is larger (Knuth)
      const sum = value + part;
      const added = sum - value;
      const lost = value - (sum - added) + (part - added);
      if (lost !== 0) parts[kept++] = lost;
      value = sum;
    }
    if (value !== 0) parts[kept++] = value;
    if (kept < length) parts.length = kept;
  }
}

/** What rounding took from `a · b` (Dekker's product); exact where nothing overflows or underflows. */
function productError(a: number, b: number, product: number): number {
  const spreadA = SPLITTER * a;
  const highA = spreadA - (spreadA - a);
  const lowA = a - highA;
  const spreadB = SPLITTER * b;
  const highB = spreadB - (spreadB - b);
  const lowB = b - highB;
  return lowA * lowB - (product - highA * highB - lowA * highB - highA * lowB);
}

const bits = new DataView(new ArrayBuffer(8));

/** Half the distance to the nearer neighbour of a double that is well above the smallest. */
function halfStep(value: number): number {
  bits.setFloat64(0, value);
  const high = bits.getUint32(0);
  // the double below a power of two is half as far away as the one above
  const isPower = (high & 0xfffff) === 0 && bits.getUint32(4) === 0;
  bits.setUint32(0, (high & 0x7ff00000) - ((isPower ? 54 : 53) << 20));
  bits.setUint32(4, 0);
  return bits.getFloat64(0);
}

/** `sum − quotient · count`, for a quotient near sum / count. */
function remainder(sum: number, quotient: number, count: number): number {
  const product = quotient * count;
  return sum - product - productError(quotient, count, product);
}

function equal(a: Binary, b: Binary): boolean {
  const exponent = Math.min(a.exponent, b.exponent);
  return a.mantissa << BigInt(a.exponent - exponent) === b.mantissa << BigInt(b.exponent - exponent);
}
