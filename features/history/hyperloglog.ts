/**
 * How many different values, estimated: HyperLogLog (Flajolet et al. 2007) with 2^14 registers over a 64-bit hash, read by
 * the estimator of Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), which needs no tables of
 * corrections. Standard error 0.81 %. Registers depend on the set of values alone, not on order or parts.
 */
import type { ByteReader, ByteWriter } from './byte-stream.ts';
import type { Datum } from './fact.ts';

const INDEX_BITS = 14;
const REGISTERS = 2 ** INDEX_BITS;
/** Bits of the hash that are left for the rank. */
const RANK_BITS = 64 - INDEX_BITS;

export class HyperLogLog {
  readonly #registers = new Uint8Array(REGISTERS);

  add(value: Exclude<Datum, null>): void {
    hash(value);
    const index = hashHigh >>> (32 - INDEX_BITS);
    const rest = (hashHigh << INDEX_BITS) >>> 0;
    const rank = rest !== 0 ? Math.clz32(rest) + 1 : Math.min(32 - INDEX_BITS + Math.clz32(hashLow) + 1, RANK_BITS + 1);
    if (rank > this.#registers[index]!) this.#registers[index] = rank;
  }

  merge(other: HyperLogLog): void {
    for (let i = 0; i < REGISTERS; i++) {
      if (other.#registers[i]! > this.#registers[i]!) this.#registers[i] = other.#registers[i]!;
    }
  }

  estimate(): number {
    const counts = new Float64Array(RANK_BITS + 2);
    for (const rank of this.#registers) counts[rank]!++;
    let z = REGISTERS * tau(1 - counts[RANK_BITS + 1]! / REGISTERS);
    for (let k = RANK_BITS; k >= 1; k--) z = 0.5 * (z + counts[k]!);
    z += REGISTERS * sigma(counts[0]! / REGISTERS);
    return Math.round(((0.5 / Math.LN2) * REGISTERS * REGISTERS) / z);
  }

  /** Runs of [zeros, register]: a sketch of few values is short. */
  write(out: ByteWriter): void {
    let zeros = 0;
    for (const rank of this.#registers) {
      if (rank === 0) {
        zeros++;
        continue;
      }
      out.unsigned(zeros);
      out.byte(rank);
      zeros = 0;
    }
    out.unsigned(zeros);
    out.byte(0);
  }

  static read(from: ByteReader): HyperLogLog {
    const sketch = new HyperLogLog();
    for (let index = 0; ; index++) {
      index += from.unsigned();
      const rank = from.byte();
      if (rank === 0) {
        if (index !== REGISTERS) throw new RangeError(`a sketch of ${index} registers, not ${REGISTERS}`);
        return sketch;
      }
      sketch.#registers[index] = rank;
    }
  }
}

function sigma(x: number): number {
  if (x === 1) return Infinity;
  let y = 1;
  let z = x;
  for (;;) {
    x *= x;
    const before = z;
    z += x * y;
    y += y;
    if (z === before) return z;
  }
}

function tau(x: number): number {
  if (x === 0 || x === 1) return 0;
  let y = 1;
  let z = 1 - x;
  for (;;) {
    x = Math.sqrt(x);
    const before = z;
    y *= 0.5;
    z -= (1 - x) ** 2 * y;
    if (z === before) return z / 3;
  }
}

let hashHigh = 0;
let hashLow = 0;
const number = new DataView(new ArrayBuffer(8));

/** Two chains of 32 bits over the value's type and bytes, each with murmur3's mixing, crossed at the end. */
function hash(value: Exclude<Datum, null>): void {
  hashHigh = 0x9747b28c;
  hashLow = 0x2545f491;
  if (typeof value === 'number') {
    number.setFloat64(0, value);
    mix(1);
    mix(number.getUint32(0));
    mix(number.getUint32(4));
  } else if (typeof value === 'boolean') {
    mix(value ? 2 : 3);
  } else {
    const text = typeof value === 'bigint' ? value.toString() : value;
    mix(typeof value === 'bigint' ? 4 : 5);
    for (let i = 0; i + 1 < text.length; i += 2) mix(text.charCodeAt(i) | (text.charCodeAt(i + 1) << 16));
    if (text.length % 2 === 1) mix(text.charCodeAt(text.length - 1));
    mix(text.length);
  }
  hashHigh = finish(hashHigh);
  hashLow = finish(hashLow ^ hashHigh);
  hashHigh = finish((hashHigh + hashLow) | 0);
}

function mix(word: number): void {
  let a = Math.imul(word, 0xcc9e2d51);
  a = Math.imul((a << 15) | (a >>> 17), 0x1b873593);
  hashHigh ^= a;
  hashHigh = (Math.imul((hashHigh << 13) | (hashHigh >>> 19), 5) + 0xe6546b64) | 0;
  let b = Math.imul(word, 0x38b34ae5);
  b = Math.imul((b << 16) | (b >>> 16), 0xa1e38b93);
  hashLow ^= b;
  hashLow = (Math.imul((hashLow << 17) | (hashLow >>> 15), 5) + 0x96cd1c35) | 0;
}

function finish(word: number): number {
  word = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
  return (word ^ (word >>> 16)) >>> 0;
}
