/** What the oracle is asked about, and the arithmetic it does without rounding. */
import { type Instant, toInstant } from '../../../domain/instant.ts';
import type { Datum, FactKind } from '../../../features/history/fact.ts';

export type Value = NonNullable<Datum>;

export interface OracleRow {
  readonly kind: FactKind;
  readonly key: readonly Datum[];
  readonly eventAt: Instant;
  readonly availableAt: Instant;
  readonly seq: number;
  /** Rows with one id are versions of one row. */
  readonly id: string;
  readonly v: Readonly<Record<string, Datum>>;
}

export type Rows = readonly OracleRow[];

/** Event times in `(from, to]`; from null: all up to `to`. */
export interface OracleWindow {
  readonly from: bigint | null;
  readonly to: bigint;
}

export interface OracleAggregate {
  readonly fn: string;
  readonly column: string | null;
  /** The column is of whole numbers or booleans. */
  readonly whole: boolean;
  readonly holds: (v: OracleRow['v']) => boolean;
  readonly bucket: string | null;
  readonly nulls: 'keep' | 'skip';
  /** Microseconds. */
  readonly unit: bigint;
}

/** Durations and instants in microseconds. */
export interface OracleLabel extends OracleAggregate {
  readonly gap: bigint;
  readonly horizon: bigint;
  readonly delay: bigint;
  readonly exclusive: boolean;
  readonly early: boolean;
  readonly builtAt: bigint;
}

/** NaN equals itself and is above everything; text by code point. */
export function compare(a: Value, b: Value): number {
  if (typeof a === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b as string));
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a < b ? -1 : Number(a > b);
}

/** Sum, mean or deviation of one value or more, as real numbers rounded once; NaN and the infinities as IEEE 754 has them. */
export function exactly(fn: string, values: readonly Value[], whole: boolean): Datum {
  const strange = values.map(Number).filter((value) => !Number.isFinite(value));
  if (!whole && strange.length > 0) return fn.startsWith('stddev') ? NaN : strange.reduce((a, b) => a + b);
  const n = BigInt(values.length);
  const terms = values.map(inUnits);
  const sum = terms.reduce((a, b) => a + b);
  if (fn === 'sum') return whole ? toInstant(sum >> SCALE) : ratio(sum, 1n << SCALE);
  if (fn === 'mean') return ratio(sum, n << SCALE);
  const spread = n * terms.map((x) => x * x).reduce((a, b) => a + b) - sum * sum;
  const scale = n * (fn === 'stddev_pop' ? n : n - 1n) * (1n << (2n * SCALE));
  // the root of x · 4^half near 1, so that squares of doubles are doubles
  const half = (sizeOf(scale) - sizeOf(spread)) >> 1;
  const [up, down] = [2 * Math.max(half, 0), 2 * Math.max(-half, 0)].map(BigInt) as [bigint, bigint];
  return Math.sqrt(ratio(spread << up, scale << down)) / 2 ** half;
}

function sizeOf(value: bigint): number {
  return value.toString(2).length;
}

/** Doubles are whole in units of the smallest one. */
const SCALE = 1074n;

function inUnits(value: Value): bigint {
  if (typeof value === 'bigint' || typeof value === 'boolean') return BigInt(value) << SCALE;
  let [number, exponent] = [value as number, SCALE];
  for (; !Number.isInteger(number); exponent--) number *= 2;
  return BigInt(number) << exponent;
}

/** Equal values once, in their order. */
export function distinct(values: readonly Value[]): Value[] {
  const sorted = values.toSorted(compare);
  return sorted.filter((value, i) => i === 0 || compare(value, sorted[i - 1]!) !== 0);
}

/** The double nearest to a / b: 70 bits of the quotient, the last one set when anything is left. */
export function ratio(a: bigint, b: bigint): number {
  if (a < 0n) return -ratio(-a, b);
  const shift = Math.max(0, 70 - sizeOf(a) + sizeOf(b));
  const quotient = (a << BigInt(shift)) / b;
  const sticky = quotient * b === a << BigInt(shift) ? quotient : quotient | 1n;
  return Number(sticky) / 2 ** Math.min(shift, 1000) / 2 ** Math.max(0, shift - 1000) + 0;
}
