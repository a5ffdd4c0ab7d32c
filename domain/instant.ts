/**
 * Exact instants and durations in microseconds over all of 0001…9999: a number where that is a safe integer (1684…2255),
 * a bigint beyond. Every value has one form, so `===` and `<` mean what they say, also between the two.
 */
export type Instant = number | bigint;

/** The one form of an instant. @throws RangeError for a number that is no safe integer */
export function toInstant(value: number | bigint): Instant {
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value)) return value + 0;
    throw new RangeError(`${value} is not a whole number of microseconds that a number holds exactly: give a bigint`);
  }
  return value >= -MAX_SAFE && value <= MAX_SAFE ? Number(value) : value;
}

export function plus(at: Instant, duration: Instant): Instant {
  if (typeof at === 'number' && typeof duration === 'number') {
    const sum = at + duration;
    if (Number.isSafeInteger(sum)) return sum;
  }
  return toInstant(BigInt(at) + BigInt(duration));
}

export function minus(at: Instant, duration: Instant): Instant {
  if (typeof at === 'number' && typeof duration === 'number') {
    const difference = at - duration;
    if (Number.isSafeInteger(difference)) return difference + 0;
  }
  return toInstant(BigInt(at) - BigInt(duration));
}

export function compareInstants(a: Instant, b: Instant): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);
