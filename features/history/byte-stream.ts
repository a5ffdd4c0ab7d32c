/**
 * Compact bytes for state: whole numbers take 1–8 bytes, instants are differences, every value has one encoding, so that
 * equal states have equal bytes.
 *
 *   unsigned  LEB128 (7 bits a byte, low first), at most 2^53
 *   whole     a number up to 2^51 in size: unsigned(zigzag, from 1 on); beyond: 0, length × 2 + sign, then the magnitude's bytes
 */
import type { ColumnType } from '../../domain/project/expression.ts';
import type { Datum } from './fact.ts';
import { toInstant } from '../../domain/instant.ts';

/** Above this in size a whole number is written as a bigint: its zigzag form must stay a safe integer. */
const WIDEST = 2 ** 51;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export class ByteWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  /** The bytes so far, as a copy. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }

  byte(value: number): void {
    this.#room(1);
    this.#bytes[this.#at++] = value;
  }

  unsigned(value: number): void {
    this.#room(8);
    while (value > 0x7f) {
      this.#bytes[this.#at++] = (value % 128) | 128;
      value = Math.floor(value / 128);
    }
    this.#bytes[this.#at++] = value;
  }

  whole(value: number | bigint): void {
    if (typeof value === 'number' && value <= WIDEST && value >= -WIDEST) {
      this.unsigned(value < 0 ? -2 * value : 2 * value + 1);
      return;
    }
    let magnitude = BigInt(value);
    const negative = magnitude < 0n;
    if (negative) magnitude = -magnitude;
    const digits = magnitude.toString(16);
    const length = Math.ceil(digits.length / 2);
    const hex = digits.padStart(2 * length, '0');
    this.unsigned(0);
    this.unsigned(2 * length + Number(negative));
    this.#room(length);
    for (let i = 0; i < length; i++) this.#bytes[this.#at++] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  }

  double(value: number): void {
    this.#room(8);
    this.#view.setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  text(value: string): void {
    // one UTF-16 unit is at most three bytes of UTF-8
    this.#room(value.length * 3 + 8);
    let ascii = value.length < 128;
    for (let i = 0; ascii && i < value.length; i++) ascii = value.charCodeAt(i) < 128;
    if (ascii) {
      this.#bytes[this.#at++] = value.length;
      for (let i = 0; i < value.length; i++) this.#bytes[this.#at++] = value.charCodeAt(i);
      return;
    }
    const bytes = encoder.encode(value);
    this.unsigned(bytes.length);
    this.raw(bytes);
  }

  raw(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** A value that is not null, of that type. */
  datum(type: ColumnType, value: Datum): void {
    switch (type) {
      case 'bool':
        return this.byte(value === true ? 1 : 0);
      case 'i64':
      case 'ts':
        return this.whole(value as number | bigint);
      case 'f64':
        return this.double(value as number);
      case 'str':
        return this.text(value as string);
    }
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + bytes));
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}

/** Reads what `ByteWriter` wrote. @throws RangeError when the bytes end too early */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  byte(): number {
    return this.#bytes[this.#take(1)]!;
  }

  unsigned(): number {
    const bytes = this.#bytes;
    const first = bytes[this.#at++]!;
    if (first < 128) return first;
    // 28 bits in the integer unit, the rest in doubles
    let value = first & 127;
    for (let shift = 7; shift < 28; shift += 7) {
      const byte = bytes[this.#at++]!;
      if (byte < 128) return value | (byte << shift);
      value |= (byte & 127) << shift;
    }
    let unit = 2 ** 28;
    for (;;) {
      const byte = bytes[this.#at++];
      if (byte === undefined) throw new RangeError('the bytes end within a number');
      if (byte < 128) return value + byte * unit;
      value += (byte - 128) * unit;
      unit *= 128;
    }
  }

  whole(): number | bigint {
    const zigzag = this.unsigned();
    if (zigzag > 0) return zigzag % 2 === 0 ? -zigzag / 2 : (zigzag - 1) / 2;
    const lengthAndSign = this.unsigned();
    const bytes = this.raw(lengthAndSign >>> 1);
    let magnitude = 0n;
    for (const byte of bytes) magnitude = (magnitude << 8n) | BigInt(byte);
    return toInstant(lengthAndSign % 2 === 1 ? -magnitude : magnitude);
  }

  double(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }

  text(): string {
    const length = this.unsigned();
    const start = this.#take(length);
    // short texts are mostly ASCII, and the decoder's call costs more than they do
    if (length < 24) {
      let text = '';
      let i = start;
      for (; i < start + length; i++) {
        const byte = this.#bytes[i]!;
        if (byte > 127) break;
        text += String.fromCharCode(byte);
      }
      if (i === start + length) return text;
    }
    return decoder.decode(this.#bytes.subarray(start, start + length));
  }

  /** A view of the next bytes. */
  raw(length: number): Uint8Array {
    const start = this.#take(length);
    return this.#bytes.subarray(start, start + length);
  }

  datum(type: ColumnType): Exclude<Datum, null> {
    switch (type) {
      case 'bool':
        return this.byte() === 1;
      case 'i64':
      case 'ts':
        return this.whole();
      case 'f64':
        return this.double();
      case 'str':
        return this.text();
    }
  }

  #take(length: number): number {
    const start = this.#at;
    if (start + length > this.#bytes.length) throw new RangeError(`the bytes end ${length} bytes too early`);
    this.#at = start + length;
    return start;
  }
}
