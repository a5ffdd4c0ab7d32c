/**
 * Array parameters in PostgreSQL's binary format, which the driver passes on as they are; as text, which it makes of plain
 * arrays, both sides spend several times as long.
 *
 *   dimensions (int4), 0 (int4), type of the elements (oid), length (int4), lower bound (int4), then per element its length
 *   (int4) and its bytes; all big endian
 */
const HEADER_BYTES = 20;
const OID = { bool: 16, bytea: 17, int4: 23 } as const;

export function byteaArray(parts: readonly Uint8Array[]): Buffer {
  let bytes = 0;
  for (let i = 0; i < parts.length; i++) bytes += 4 + parts[i]!.length;
  const array = open(OID.bytea, parts.length, bytes);
  let at = HEADER_BYTES;
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    array.writeInt32BE(part.length, at);
    array.set(part, at + 4);
    at += 4 + part.length;
  }
  return array;
}

export function int4Array(numbers: readonly number[]): Buffer {
  const array = open(OID.int4, numbers.length, numbers.length * 8);
  for (let i = 0, at = HEADER_BYTES; i < numbers.length; i++, at += 8) {
    array.writeInt32BE(4, at);
    array.writeInt32BE(numbers[i]!, at + 4);
  }
  return array;
}

export function boolArray(flags: readonly boolean[]): Buffer {
  const array = open(OID.bool, flags.length, flags.length * 5);
  for (let i = 0, at = HEADER_BYTES; i < flags.length; i++, at += 5) {
    array.writeInt32BE(1, at);
    array[at + 4] = flags[i]! ? 1 : 0;
  }
  return array;
}

function open(type: number, length: number, bytes: number): Buffer {
  const array = Buffer.allocUnsafe(HEADER_BYTES + bytes);
  array.writeInt32BE(1, 0);
  array.writeInt32BE(0, 4);
  array.writeInt32BE(type, 8);
  array.writeInt32BE(length, 12);
  array.writeInt32BE(1, 16);
  return array;
}
