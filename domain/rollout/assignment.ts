/** Buckets of the sticky assignment: a bucket is a ten-thousandth of the units, so weights are exact to 0.01 %. */
export const BUCKETS = 10_000;

export type LiveArm = 'champion' | 'canary';

/**
 * The bucket of a unit (user, entity, session: whatever must stay with one version), uniform over 0…9999 and the same on every
 * node and in every process.
 *
 *   bucket = murmur3_x86_32(utf8(salt ‖ 0x1F ‖ unit), seed 0) mod 10 000
 *
 * The salt is the rollout's id, so that successive rollouts do not hit the same users first. 2³² mod 10 000 = 7 296, hence some
 * buckets are likelier than others by 1 in 429 497, far below anything a rollout can see. A lone surrogate counts as U+FFFD, as in UTF-8 encoders.
 * Source: Austin Appleby, MurmurHash3 (public domain), x86 32-bit variant. Golden values: test/golden/assignment.json.
 */
export function bucketOf(salt: string, unit: string): number {
  return murmur3(`${salt}\u001f${unit}`) % BUCKETS;
}

/**
 * The arm of a bucket while the canary has `canaryWeightPercent` of the traffic. The canary takes the lowest buckets, so a
 * higher weight keeps every unit that is with the canary already: a unit changes arm at most once while the weight rises.
 */
export function armOf(bucket: number, canaryWeightPercent: number): LiveArm {
  return bucket < Math.round((canaryWeightPercent * BUCKETS) / 100) ? 'canary' : 'champion';
}

/** MurmurHash3 x86 32 over the UTF-8 bytes of `text`, seed 0; an unsigned 32-bit integer. */
export function murmur3(text: string): number {
  let hash = 0;
  let block = 0;
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i);
    let bytes = 1;
    if (code >= 0x80) {
      if (code >= 0xd800 && code <= 0xdfff) {
        const low = code < 0xdc00 && i + 1 < text.length ? text.charCodeAt(i + 1) : 0;
        const isPair = low >= 0xdc00 && low <= 0xdfff;
        code = isPair ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
        if (isPair) i++;
      }
      bytes = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    }
    for (let k = bytes - 1; k >= 0; k--) {
      // The leading byte carries the length of the sequence, the others the mark 10xxxxxx.
      const byte =
        bytes === 1 ? code : k === bytes - 1 ? LEADS[bytes]! | (code >>> (6 * k)) : 0x80 | ((code >>> (6 * k)) & 0x3f);
      block |= byte << (8 * (length & 3));
      length++;
      if ((length & 3) === 0) {
        hash ^= scramble(block);
        hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
        block = 0;
      }
    }
  }
  if ((length & 3) !== 0) hash ^= scramble(block);
  hash ^= length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

const LEADS = [0, 0, 0xc0, 0xe0, 0xf0];

function scramble(block: number): number {
  const mixed = Math.imul(block, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}
