/**
 * Aggregates as accumulators: rows in any order, parts merged in any grouping, one result. Values are exact and rounded
 * once, so that a window read from events, from tiles and from a replay has the same bits.
 */
import type { ColumnType } from '../../domain/project/expression.ts';
import { valueType } from '../../domain/project/output-type.ts';
import type { ByteReader, ByteWriter } from './byte-stream.ts';
import type { Datum, Fact } from './fact.ts';
import { FloatMoments, FloatTotal, WholeMoments, WholeTotal } from './numeric-aggregates.ts';
import { comparePositions, compareData, type Position } from './order.ts';
import type { HistoryOutput, OutputType, OutputValue } from './plan.ts';
import { roundRatio } from './rounding.ts';
import { takesPart } from './selection.ts';
import { ApproximateDistinct, Distinct, Quantile, TopValues } from './value-sets.ts';

export interface Accumulator {
  /** @param value of the output's slot; true for outputs without one */
  add(value: Datum, at: Position): void;
  /** Takes a row away that was added; absent where that needs to know the other rows. */
  remove?(value: Datum): void;
  /** Takes in another accumulator of the same output, which stays as it is. */
  merge(other: Accumulator): void;
  result(output: HistoryOutput): OutputValue;
  /** Equal contents give equal bytes, in whatever order they came. */
  write(out: ByteWriter): void;
}

/** How the accumulators of one output are made. */
export interface Aggregate {
  create(): Accumulator;
  read(from: ByteReader): Accumulator;
}

/** Adds a row to an output's accumulator (or to that of its group) unless the output's condition leaves it out. */
export function addRow(output: HistoryOutput, accumulator: Accumulator, fact: Fact): void {
  if (!takesPart(output, fact)) return;
  const into = accumulator instanceof Groups ? accumulator.group(fact.values[output.by]!) : accumulator;
  into.add(output.slot < 0 ? true : fact.values[output.slot]!, fact);
}

type Scalar = Pick<HistoryOutput, 'fn' | 'nulls' | 'exactUpTo'>;

/**
 * @param type  of the output's slot; null: it has none
 * @param by    of the group; null: one accumulator for all rows
 */
export function aggregateOf(output: Scalar, type: ColumnType | null, by: ColumnType | null): Aggregate {
  const scalar = scalarAggregate(output, type ?? 'bool');
  if (by === null) return scalar;
  return { create: () => new Groups(scalar, by), read: (from) => Groups.read(scalar, by, from) };
}

function scalarAggregate({ fn, nulls, exactUpTo }: Scalar, type: ColumnType): Aggregate {
  switch (fn) {
    case 'count':
    case 'rate':
      return { create: () => new Tally(), read: Tally.read };
    case 'share':
      return { create: () => new Share(), read: Share.read };
    case 'sum':
    case 'mean':
      return type === 'f64'
        ? { create: () => new FloatTotal(), read: FloatTotal.read }
        : { create: () => new WholeTotal(), read: WholeTotal.read };
    case 'variance_pop':
    case 'variance_samp':
    case 'stddev_pop':
    case 'stddev_samp':
      return type === 'f64'
        ? { create: () => new FloatMoments(), read: FloatMoments.read }
        : { create: () => new WholeMoments(), read: WholeMoments.read };
    case 'min':
      return { create: () => new Extreme(type, -1), read: (from) => Extreme.read(type, -1, from) };
    case 'max':
      return { create: () => new Extreme(type, 1), read: (from) => Extreme.read(type, 1, from) };
    case 'first':
      return { create: () => new Edge(type, -1, nulls), read: (from) => Edge.read(type, -1, nulls, from) };
    case 'last':
    case 'latest':
      return { create: () => new Edge(type, 1, nulls), read: (from) => Edge.read(type, 1, nulls, from) };
    case 'count_distinct':
      return { create: () => new Distinct(type), read: (from) => Distinct.read(type, from) };
    case 'approx_count_distinct':
      return {
        create: () => new ApproximateDistinct(type, exactUpTo),
        read: (from) => ApproximateDistinct.read(type, exactUpTo, from),
      };
    case 'top_k':
      return { create: () => new TopValues(type), read: (from) => TopValues.read(type, from) };
    case 'quantile':
      return { create: () => new Quantile(), read: Quantile.read };
  }
}

/** What an output of that function over a slot of that type gives. */
export function outputType(fn: HistoryOutput['fn'], type: ColumnType | null): OutputType {
  const value = valueType(fn, type);
  return fn === 'top_k' ? { list: 'pairs', by: value, of: 'i64' } : value;
}

class Tally implements Accumulator {
  #rows: number;

  constructor(rows = 0) {
    this.#rows = rows;
  }

  add(value: Datum): void {
    if (value !== null) this.#rows++;
  }

  remove(value: Datum): void {
    if (value !== null) this.#rows--;
  }

  merge(other: Tally): void {
    this.#rows += other.#rows;
  }

  result({ fn, unit, over }: HistoryOutput): OutputValue {
    return fn === 'rate' ? roundRatio(BigInt(this.#rows) * BigInt(unit), BigInt(over!.length!)) : this.#rows;
  }

  write(out: ByteWriter): void {
    out.unsigned(this.#rows);
  }

  static read(this: void, from: ByteReader): Tally {
    return new Tally(from.unsigned());
  }
}

/** The part of the rows for which a condition holds; those for which it is null take no part. */
class Share implements Accumulator {
  #rows: number;
  #hits: number;

  constructor(rows = 0, hits = 0) {
    this.#rows = rows;
    this.#hits = hits;
  }

  add(value: Datum): void {
    if (value === null) return;
    this.#rows++;
    if (value === true) this.#hits++;
  }

  remove(value: Datum): void {
    if (value === null) return;
    this.#rows--;
    if (value === true) this.#hits--;
  }

  merge(other: Share): void {
    this.#rows += other.#rows;
    this.#hits += other.#hits;
  }

  result(): OutputValue {
    return this.#rows === 0 ? null : this.#hits / this.#rows;
  }

  write(out: ByteWriter): void {
    out.unsigned(this.#rows);
    out.unsigned(this.#hits);
  }

  static read(this: void, from: ByteReader): Share {
    return new Share(from.unsigned(), from.unsigned());
  }
}

class Extreme implements Accumulator {
  readonly #type: ColumnType;
  readonly #wanted: -1 | 1;
  #value: Datum;

  constructor(type: ColumnType, wanted: -1 | 1, value: Datum = null) {
    this.#type = type;
    this.#wanted = wanted;
    this.#value = value;
  }

  add(value: Datum): void {
    if (value === null) return;
    if (this.#value === null || compareData(value, this.#value) === this.#wanted) this.#value = value;
  }

  merge(other: Extreme): void {
    this.add(other.#value);
  }

  result(): OutputValue {
    return this.#value;
  }

  write(out: ByteWriter): void {
    writeOptional(out, this.#type, this.#value);
  }

  static read(this: void, type: ColumnType, wanted: -1 | 1, from: ByteReader): Extreme {
    return new Extreme(type, wanted, readOptional(from, type));
  }
}

/** The value of the first or last row by position. */
class Edge implements Accumulator {
  readonly #type: ColumnType;
  readonly #wanted: -1 | 1;
  readonly #nulls: 'keep' | 'skip';
  #at: Position | null = null;
  #value: Datum = null;

  constructor(type: ColumnType, wanted: -1 | 1, nulls: 'keep' | 'skip') {
    this.#type = type;
    this.#wanted = wanted;
    this.#nulls = nulls;
  }

  add(value: Datum, at: Position): void {
    if (value === null && this.#nulls === 'skip') return;
    if (this.#at !== null && comparePositions(at, this.#at) * this.#wanted < 0) return;
    this.#at = at;
    this.#value = value;
  }

  merge(other: Edge): void {
    if (other.#at !== null) this.add(other.#value, other.#at);
  }

  result(): OutputValue {
    return this.#value;
  }

  write(out: ByteWriter): void {
    out.byte(this.#at === null ? 0 : 1);
    if (this.#at === null) return;
    out.whole(this.#at.eventAt);
    out.whole(this.#at.availableAt);
    out.whole(this.#at.seq);
    writeOptional(out, this.#type, this.#value);
  }

  static read(this: void, type: ColumnType, wanted: -1 | 1, nulls: 'keep' | 'skip', from: ByteReader): Edge {
    const edge = new Edge(type, wanted, nulls);
    if (from.byte() === 0) return edge;
    edge.#at = { eventAt: from.whole(), availableAt: from.whole(), seq: Number(from.whole()) };
    edge.#value = readOptional(from, type);
    return edge;
  }
}

/** One accumulator for each group; `add` is told the group first. */
export class Groups implements Accumulator {
  readonly #of: Aggregate;
  readonly #by: ColumnType;
  readonly #groups = new Map<NonNullable<Datum>, Accumulator>();

  constructor(of: Aggregate, by: ColumnType) {
    this.#of = of;
    this.#by = by;
  }

  /** The accumulator of a group; a null group has none. */
  group(by: NonNullable<Datum>): Accumulator {
    let group = this.#groups.get(by);
    if (!group) this.#groups.set(by, (group = this.#of.create()));
    return group;
  }

  add(): never {
    throw new TypeError('rows are added to a group');
  }

  merge(other: Groups): void {
    for (const [by, accumulator] of other.#groups) this.group(by).merge(accumulator);
  }

  result(output: HistoryOutput): OutputValue {
    return this.#sorted().map(([by, accumulator]) => [by, accumulator.result(output) as Datum]);
  }

  write(out: ByteWriter): void {
    out.unsigned(this.#groups.size);
    for (const [by, accumulator] of this.#sorted()) {
      out.datum(this.#by, by);
      accumulator.write(out);
    }
  }

  static read(this: void, of: Aggregate, by: ColumnType, from: ByteReader): Groups {
    const groups = new Groups(of, by);
    for (let left = from.unsigned(); left > 0; left--) groups.#groups.set(from.datum(by), of.read(from));
    return groups;
  }

  #sorted(): [NonNullable<Datum>, Accumulator][] {
    return [...this.#groups].toSorted(([a], [b]) => compareData(a, b));
  }
}

function writeOptional(out: ByteWriter, type: ColumnType, value: Datum): void {
  out.byte(value === null ? 0 : 1);
  if (value !== null) out.datum(type, value);
}

function readOptional(from: ByteReader, type: ColumnType): Datum {
  return from.byte() === 0 ? null : from.datum(type);
}
