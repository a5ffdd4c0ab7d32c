import { randomFillSync } from 'node:crypto';

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const POOL_BYTES = 4096;
const pool = Buffer.alloc(POOL_BYTES);
let used = POOL_BYTES;

/**
 * A time-ordered id: a UUID version 7 (RFC 9562 §5.7), 48 bits of milliseconds and 74 random ones, so that the index on
 * logged predictions grows at its end and ids of different nodes do not meet.
 */
export function newPredictionId(unixMs: number = Date.now()): string {
  if (used + 10 > POOL_BYTES) {
    randomFillSync(pool);
    used = 0;
  }
  const at = used;
  used += 10;
  const high = Math.floor(unixMs / 0x10000);
  const low = unixMs % 0x10000;
  return (
    `${HEX[(high >>> 24) & 0xff]}${HEX[(high >>> 16) & 0xff]}${HEX[(high >>> 8) & 0xff]}${HEX[high & 0xff]}-` +
    `${HEX[low >>> 8]}${HEX[low & 0xff]}-` +
    `${HEX[0x70 | (pool[at]! & 0x0f)]}${HEX[pool[at + 1]!]}-${HEX[0x80 | (pool[at + 2]! & 0x3f)]}${HEX[pool[at + 3]!]}-` +
    `${HEX[pool[at + 4]!]}${HEX[pool[at + 5]!]}${HEX[pool[at + 6]!]}${HEX[pool[at + 7]!]}${HEX[pool[at + 8]!]}${HEX[pool[at + 9]!]}`
  );
}
