/**
 * Keys as bytes: per part a type tag, for text a length, then the value. So `1` is not `'1'`, `("a", "bc")` is not
 * `("ab", "c")`, and equal keys have equal bytes. A key of no parts is no bytes.
 *
 *   str   0x01, byte length (uint32, big endian), UTF-8        i64   0x02, two's complement (int64, big endian)
 *   bool  0x03, 0 or 1                                         ts    0x04, microseconds since the epoch, as i64
 */
import { SerinError } from '../../domain/errors.ts';
import { toInstant } from '../../domain/instant.ts';
import type { KeyPart } from '../../domain/project/spec.ts';

/** What a key part may be: whole numbers and instants are numbers where those are exact, bigints beyond. */
export type KeyValue = string | number | bigint | boolean | null;

const STR_TAG = 1;
const I64_TAG = 2;
const BOOL_TAG = 3;
const TS_TAG = 4;

const MIN_I64 = -(2n ** 63n);
const MAX_I64 = 2n ** 63n - 1n;

/**
 * @param values one per part, in the order of the entity's parts
 * @returns null when a part is null: such a row belongs to no entity
 * @throws INPUT_INVALID when a value is not of its part's type (values are never converted)
 */
export function encodeKey(parts: readonly KeyPart[], values: readonly KeyValue[]): Buffer | null {
  let bytes = 0;
  for (let i = 0; i < parts.length; i++) {
    const value = values[i];
    if (value === null || value === undefined) return null;
    bytes += sizeOf(parts[i]!, value);
  }
  const key = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (let i = 0; i < parts.length; i++) at = write(key, at, parts[i]!, values[i]!);
  return key;
}

function sizeOf(part: KeyPart, value: NonNullable<KeyValue>): number {
  switch (part.type) {
    case 'str':
      return 5 + Buffer.byteLength(textOf(part, value));
    case 'bool':
      return 2;
    case 'i64':
    case 'ts':
      return 9;
  }
}

function write(key: Buffer, at: number, part: KeyPart, value: NonNullable<KeyValue>): number {
  switch (part.type) {
    case 'str': {
      const length = key.write(value as string, at + 5);
      key[at] = STR_TAG;
      key.writeUInt32BE(length, at + 1);
      return at + 5 + length;
    }
    case 'bool':
      if (typeof value !== 'boolean') throw refusal(part, value, 'true or false');
      key[at] = BOOL_TAG;
      key[at + 1] = value ? 1 : 0;
      return at + 2;
    case 'i64':
    case 'ts':
      key[at] = part.type === 'i64' ? I64_TAG : TS_TAG;
      writeWhole(key, at + 1, part, value);
      return at + 9;
  }
}

function writeWhole(key: Buffer, at: number, part: KeyPart, value: NonNullable<KeyValue>): void {
  if (typeof value === 'number' && Number.isSafeInteger(value)) {
    // two halves of the two's complement: the high one is the floor of the quotient
    key.writeInt32BE(Math.floor(value / 2 ** 32), at);
    key.writeUInt32BE(value - Math.floor(value / 2 ** 32) * 2 ** 32, at + 4);
    return;
  }
  if (typeof value !== 'bigint' || value < MIN_I64 || value > MAX_I64) {
    throw refusal(part, value, 'a whole number of 64 bits (a bigint from 2^53 on)');
  }
  key.writeBigInt64BE(value, at);
}

/** The inverse of `encodeKey`, for people who look at a store. @throws RangeError for bytes that are no key */
export function decodeKey(key: Uint8Array): NonNullable<KeyValue>[] {
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.byteLength);
  const values: NonNullable<KeyValue>[] = [];
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes[at]!;
    if (tag === I64_TAG || tag === TS_TAG) {
      values.push(toInstant(bytes.readBigInt64BE(at + 1)));
      at += 9;
    } else if (tag === BOOL_TAG) {
      values.push(bytes.readUInt8(at + 1) === 1);
      at += 2;
    } else if (tag === STR_TAG) {
      const length = bytes.readUInt32BE(at + 1);
      values.push(bytes.toString('utf8', at + 5, at + 5 + length));
      at += 5 + length;
    } else throw new RangeError(`a key part of type ${tag}, which there is not`);
  }
  return values;
}

/** UTF-8 has no lone surrogates: they would all become U+FFFD, and different keys one. */
const LONE_SURROGATE = /\p{Surrogate}/u;

function textOf(part: KeyPart, value: KeyValue): string {
  if (typeof value !== 'string') throw refusal(part, value, 'a text');
  if (LONE_SURROGATE.test(value)) throw refusal(part, value, 'well-formed Unicode');
  return value;
}

function refusal(part: KeyPart, value: KeyValue, wanted: string): SerinError {
  const shown = typeof value === 'bigint' ? String(value) : value;
  return new SerinError(
    'INPUT_INVALID',
    `the key part "${part.name}" must be ${wanted}, got ${JSON.stringify(shown)}`,
    {
      fields: { field: part.name, value: shown, type: part.type },
    },
  );
}
