/**
 * Rules 3–11 and 13 of `shared/conformance/pit/README.md` by brute force, written from that text alone, to hold every
 * faster path against: at most 60 lines of code, and every question looks at every row.
 */
import type { Datum } from '../../../features/history/fact.ts';
import { compare, distinct, exactly, ratio } from './oracle-terms.ts';
import type { OracleAggregate, OracleLabel, OracleRow, OracleWindow, Rows, Value } from './oracle-terms.ts';

const isAfter = (a: Value[], b: Value[]) => a.map((x, i) => compare(x, b[i]!)).find((d) => d !== 0) === 1;
const version = ({ availableAt, seq }: OracleRow): Value[] => [availableAt, seq];
const position = (row: OracleRow): Value[] => [row.eventAt, row.availableAt, row.seq];

/** Rules 3–5: the rows of `key` there are for who sees up to `cut`, by position; and whether a tombstone is in force. */
export function live(rows: Rows, key: readonly Datum[], cut: bigint) {
  const mine = (row: OracleRow) => row.eventAt <= cut && key.every((part, i) => part !== null && part === row.key[i]);
  const known = rows.filter((row) => row.availableAt <= cut);
  const graves = known.filter((row) => row.kind === 'tombstone' && mine(row)).map(position);
  const rest = known.filter((row) => row.kind !== 'tombstone');
  const isOld = (row: OracleRow) => rest.some((other) => other.id === row.id && isAfter(version(other), version(row)));
  const isDead = (row: OracleRow) => graves.some((grave) => isAfter(grave, position(row)));
  const alive = rest.filter((row) => row.kind === 'put' && !isOld(row) && mine(row) && !isDead(row));
  return { rows: alive.toSorted((a, b) => (isAfter(position(a), position(b)) ? 1 : -1)), deleted: graves.length > 0 };
}

/** Rule 7. */
export function latest(
  { rows, deleted }: ReturnType<typeof live>,
  f: OracleAggregate,
  asOf: bigint,
  ttl: bigint | null,
) {
  const row = rows.findLast(({ v }) => f.holds(v) && (f.nulls === 'keep' || v[f.column!] !== null));
  if (row === undefined) return [null, deleted ? 'DELETED' : 'NOT_FOUND'] as const;
  if (ttl !== null && asOf - BigInt(row.eventAt) > ttl) return [null, 'EXPIRED'] as const;
  return [row.v[f.column!]!, row.v[f.column!] === null ? 'NULL' : 'PRESENT'] as const;
}

/** Rules 8, 10 and 11, of rows by position. */
export function aggregate(rows: Rows, f: OracleAggregate, { from, to }: OracleWindow): Datum | [Value, Datum][] {
  const inside = rows.filter(({ eventAt: at, v }) => (from === null || at > from) && at <= to && f.holds(v));
  if (f.bucket === null) return reduce(inside, f, to - (from ?? to));
  const bucketed = inside.filter(({ v }) => v[f.bucket!] !== null);
  const of = (bucket: Value) => bucketed.filter(({ v }) => compare(v[f.bucket!]!, bucket) === 0);
  const buckets = distinct(bucketed.map(({ v }) => v[f.bucket!]!));
  return buckets.map((bucket) => [bucket, reduce(of(bucket), f, to - (from ?? to))]);
}

/** Rule 9. */
function reduce(rows: Rows, { fn, column, nulls, unit, whole }: OracleAggregate, length: bigint): Datum {
  const all = rows.map(({ v }) => (column === null ? true : v[column]!));
  const values = all.filter((value) => value !== null);
  if (fn === 'rate') return ratio(BigInt(rows.length) * unit, length);
  if (fn === 'count') return values.length;
  if (fn === 'count_distinct') return distinct(values).length;
  if (fn === 'first' || fn === 'last') return (nulls === 'skip' ? values : all).at(fn === 'first' ? 0 : -1) ?? null;
  if (values.length < (fn === 'stddev_samp' ? 2 : 1)) return null;
  return fn === 'min' || fn === 'max' ? distinct(values).at(fn === 'min' ? 0 : -1)! : exactly(fn, values, whole);
}

/** Rule 13; `events` and `censors` are those live at the knowledge cut. */
export function label(events: Rows, censors: Rows, f: OracleLabel, t: bigint) {
  const end = t + f.gap + f.horizon;
  const censor = censors.map(({ eventAt }) => BigInt(eventAt)).find((at) => at > t && at < end);
  const observed = events.filter(({ eventAt }) => eventAt <= (censor ?? end));
  const window = { from: t + f.gap - (f.exclusive ? 1n : 0n), to: end - (f.exclusive ? 1n : 0n) };
  const hit = f.fn === 'any' && aggregate(observed, { ...f, fn: 'count', column: null }, window) !== 0;
  if (f.builtAt < (censor ?? end) + f.delay && !(hit && f.early)) return [null, 'IMMATURE'] as const;
  if (hit) return [true, 'POSITIVE'] as const;
  if (censor !== undefined) return [null, 'CENSORED'] as const;
  return f.fn === 'any'
    ? ([false, 'NEGATIVE'] as const)
    : ([aggregate(observed, f, window) as Datum, 'VALUE'] as const);
}
