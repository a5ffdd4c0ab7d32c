/**
 * Keys as bytes: per part a type tag, for text a length, then the value. So `1` is not `'1'`, `("a", "bc")` is not
 * `("ab", "c")`, and equal keys have equal bytes.
 *
 *   str:  0x01, byte length (uint32, big endian), UTF-8        i64:  0x02, two's complement (int64, big endian)
 */
import { SerinError } from '../../domain/errors.ts';
import type { Value } from '../../domain/project/expression.ts';
import type { KeyPart } from '../../domain/project/spec.ts';

const STR_TAG = 1;
const I64_TAG = 2;

/**
 * @param values one per part, in the order of the entity's parts
 * @returns null when a part is null: such a row belongs to no entity
 * @throws INPUT_INVALID when a value is not of its part's type (values are never converted)
 */
export function encodeKey(parts: readonly KeyPart[], values: readonly Value[]): Buffer | null {
  let bytes = 0;
  for (let i = 0; i < parts.length; i++) {
    const value = values[i];
    if (value === null || value === undefined) return null;
    bytes += parts[i]!.type === 'str' ? 5 + Buffer.byteLength(textOf(parts[i]!, value)) : 9;
  }
  const key = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    const value = values[i]!;
    if (part.type === 'str') {
      const length = key.write(value as string, at + 5);
      key[at] = STR_TAG;
      key.writeUInt32BE(length, at + 1);
      at += 5 + length;
    } else {
      key[at] = I64_TAG;
      key.writeBigInt64BE(BigInt(integerOf(part, value)), at + 1);
      at += 9;
    }
  }
  return key;
}

/** The inverse of `encodeKey`, for people who look at a store. */
export function decodeKey(key: Uint8Array): (string | number)[] {
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.byteLength);
  const values: (string | number)[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes[at] === I64_TAG) {
      values.push(Number(bytes.readBigInt64BE(at + 1)));
      at += 9;
    } else {
      const length = bytes.readUInt32BE(at + 1);
      values.push(bytes.toString('utf8', at + 5, at + 5 + length));
      at += 5 + length;
    }
  }
  return values;
}

/** UTF-8 has no lone surrogates: they would all become U+FFFD, and different keys one. */
const LONE_SURROGATE = /\p{Surrogate}/u;

function textOf(part: KeyPart, value: Value): string {
  if (typeof value !== 'string') throw refusal(part, value, 'a text');
  if (LONE_SURROGATE.test(value)) throw refusal(part, value, 'well-formed Unicode');
  return value;
}

function integerOf(part: KeyPart, value: Value): number {
  if (!Number.isSafeInteger(value)) throw refusal(part, value, 'an integer below 2^53');
  return value as number;
}

function refusal(part: KeyPart, value: Value, wanted: string): SerinError {
  return new SerinError(
    'INPUT_INVALID',
    `the key part "${part.name}" must be ${wanted}, got ${JSON.stringify(value)}`,
    {
      fields: { field: part.name, value, type: part.type },
    },
  );
}
