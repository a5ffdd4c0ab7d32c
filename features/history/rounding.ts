/**
 * Exact rationals to doubles, rounded once (to nearest, ties to even): over the whole range, subnormal results and those
 * that overflow to infinity included.
 */

/** `mantissa · 2^exponent`, any size. */
export interface Binary {
  readonly mantissa: bigint;
  readonly exponent: number;
}

const bits = new DataView(new ArrayBuffer(8));

/** The exact value of a finite double. */
export function exactOf(value: number): Binary {
  bits.setFloat64(0, value);
  const high = bits.getUint32(0);
  const biased = (high >>> 20) & 0x7ff;
  const fraction = (BigInt(high & 0xfffff) << 32n) | BigInt(bits.getUint32(4));
  const magnitude = biased === 0 ? fraction : fraction | (1n << 52n);
  return { mantissa: value < 0 ? -magnitude : magnitude, exponent: Math.max(biased, 1) - 1075 };
}

/** The double nearest to `numerator / denominator · 2^exponent`; the denominator is positive. */
export function roundRatio(numerator: bigint, denominator: bigint, exponent = 0): number {
  if (numerator === 0n) return 0;
  const negative = numerator < 0n;
  const magnitude = negative ? -numerator : numerator;
  // a quotient of at least 64 bits, its last one standing for whatever is below
  const shift = 66 - bitLength(magnitude) + bitLength(denominator);
  const [top, bottom] =
    shift >= 0 ? [magnitude << BigInt(shift), denominator] : [magnitude, denominator << BigInt(-shift)];
  const quotient = top / bottom;
  const sticky = quotient * bottom === top ? quotient : quotient | 1n;
  const rounded = roundSticky(sticky, exponent - shift);
  return negative ? -rounded : rounded;
}

/** The double nearest to √(numerator / denominator · 2^exponent); the numerator is not negative, the denominator positive. */
export function roundSquareRoot(numerator: bigint, denominator: bigint, exponent = 0): number {
  if (numerator === 0n) return 0;
  let shift = 134 - bitLength(numerator) + bitLength(denominator);
  if ((exponent - shift) % 2 !== 0) shift++;
  const [top, bottom] =
    shift >= 0 ? [numerator << BigInt(shift), denominator] : [numerator, denominator << BigInt(-shift)];
  const radicand = top / bottom;
  const root = squareRoot(radicand);
  const exact = root * root === radicand && radicand * bottom === top;
  return roundSticky(exact ? root : root | 1n, (exponent - shift) / 2);
}

/** Of a positive integer with at least 64 bits whose last bit is set when something non-zero lies below it. */
function roundSticky(value: bigint, exponent: number): number {
  const length = bitLength(value);
  const top = exponent + length - 1;
  if (top > 1023) return Infinity;
  // doubles have 53 bits, and none below 2^-1074
  const kept = Math.min(53, top + 1075);
  if (kept < 0) return 0;
  const dropped = BigInt(length - kept);
  let mantissa = value >> dropped;
  const rest = value - (mantissa << dropped);
  const half = 1n << (dropped - 1n);
  if (rest > half || (rest === half && (mantissa & 1n) === 1n)) mantissa += 1n;
  return scale(Number(mantissa), exponent + Number(dropped));
}

/** `value · 2^exponent`, which is a double or beyond them all: powers of two alone may leave their range. */
function scale(value: number, exponent: number): number {
  return exponent > 1000 ? value * 2 ** 1000 * 2 ** (exponent - 1000) : value * 2 ** exponent;
}

function squareRoot(value: bigint): bigint {
  // the first of Newton's steps is from within 2^-50 and ends at or above the root, the others go down to its floor
  const start = BigInt(Math.floor(Math.sqrt(Number(value))));
  let root = (start + value / start) >> 1n;
  for (;;) {
    const next = (root + value / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

export function bitLength(value: bigint): number {
  const digits = value.toString(16);
  return (digits.length - 1) * 4 + (32 - Math.clz32(Number.parseInt(digits[0]!, 16)));
}
