/** Aggregates that are about which values there are: distinct counts, the most frequent ones, quantiles. */
import type { ColumnType } from '../../domain/project/expression.ts';
import type { Accumulator } from './aggregates.ts';
import type { ByteReader, ByteWriter } from './byte-stream.ts';
import type { Datum } from './fact.ts';
import { HyperLogLog } from './hyperloglog.ts';
import { compareData } from './order.ts';
import type { HistoryOutput, OutputValue } from './plan.ts';
import { QuantileSketch } from './quantile-sketch.ts';

/** A `Set` has the wanted equality: NaN is itself, −0 is 0, and a whole number has one form. */
export class Distinct implements Accumulator {
  readonly #type: ColumnType;
  readonly #values: Set<NonNullable<Datum>>;

  constructor(type: ColumnType, values: Iterable<NonNullable<Datum>> = []) {
    this.#type = type;
    this.#values = new Set(values);
  }

  add(value: Datum): void {
    if (value !== null) this.#values.add(value);
  }

  merge(other: Distinct): void {
    for (const value of other.#values) this.#values.add(value);
  }

  result(): OutputValue {
    return this.#values.size;
  }

  write(out: ByteWriter): void {
    writeValues(out, this.#type, this.#values);
  }

  static read(this: void, type: ColumnType, from: ByteReader): Distinct {
    return new Distinct(type, readValues(from, type));
  }
}

/** The values themselves up to a bound, their sketch beyond: which of the two depends on the set of values alone. */
export class ApproximateDistinct implements Accumulator {
  readonly #type: ColumnType;
  readonly #exactUpTo: number;
  #values: Set<NonNullable<Datum>> | null = new Set();
  #sketch: HyperLogLog | null = null;

  constructor(type: ColumnType, exactUpTo: number) {
    this.#type = type;
    this.#exactUpTo = exactUpTo;
  }

  add(value: Datum): void {
    if (value === null) return;
    if (this.#values === null) {
      this.#sketch!.add(value);
      return;
    }
    this.#values.add(value);
    if (this.#values.size > this.#exactUpTo) this.#approximate();
  }

  merge(other: ApproximateDistinct): void {
    if (other.#values !== null) {
      for (const value of other.#values) this.add(value);
      return;
    }
    if (this.#values !== null) this.#approximate();
    this.#sketch!.merge(other.#sketch!);
  }

  result(): OutputValue {
    return this.#values === null ? this.#sketch!.estimate() : this.#values.size;
  }

  write(out: ByteWriter): void {
    out.byte(this.#values === null ? 1 : 0);
    if (this.#values === null) this.#sketch!.write(out);
    else writeValues(out, this.#type, this.#values);
  }

  static read(this: void, type: ColumnType, exactUpTo: number, from: ByteReader): ApproximateDistinct {
    const distinct = new ApproximateDistinct(type, exactUpTo);
    if (from.byte() === 0) {
      distinct.#values = new Set(readValues(from, type));
    } else {
      distinct.#values = null;
      distinct.#sketch = HyperLogLog.read(from);
    }
    return distinct;
  }

  #approximate(): void {
    this.#sketch = new HyperLogLog();
    for (const value of this.#values!) this.#sketch.add(value);
    this.#values = null;
  }
}

/** Every value with its count; the list is cut when it is read, so that parts can be merged exactly. */
export class TopValues implements Accumulator {
  readonly #type: ColumnType;
  readonly #counts = new Map<NonNullable<Datum>, number>();

  constructor(type: ColumnType) {
    this.#type = type;
  }

  add(value: Datum): void {
    if (value !== null) this.#counts.set(value, (this.#counts.get(value) ?? 0) + 1);
  }

  remove(value: Datum): void {
    if (value === null) return;
    const left = this.#counts.get(value)! - 1;
    if (left === 0) this.#counts.delete(value);
    else this.#counts.set(value, left);
  }

  merge(other: TopValues): void {
    for (const [value, count] of other.#counts) this.#counts.set(value, (this.#counts.get(value) ?? 0) + count);
  }

  result({ k }: HistoryOutput): OutputValue {
    return [...this.#counts].toSorted(([a, m], [b, n]) => n - m || compareData(a, b)).slice(0, k);
  }

  write(out: ByteWriter): void {
    out.unsigned(this.#counts.size);
    for (const [value, count] of [...this.#counts].toSorted(([a], [b]) => compareData(a, b))) {
      out.datum(this.#type, value);
      out.unsigned(count);
    }
  }

  static read(this: void, type: ColumnType, from: ByteReader): TopValues {
    const top = new TopValues(type);
    for (let left = from.unsigned(); left > 0; left--) top.#counts.set(from.datum(type), from.unsigned());
    return top;
  }
}

export class Quantile implements Accumulator {
  readonly #sketch: QuantileSketch;

  constructor(sketch = new QuantileSketch()) {
    this.#sketch = sketch;
  }

  add(value: Datum): void {
    if (value !== null) this.#sketch.add(Number(value));
  }

  merge(other: Quantile): void {
    this.#sketch.merge(other.#sketch);
  }

  result({ q }: HistoryOutput): OutputValue {
    return this.#sketch.count === 0 ? null : this.#sketch.quantile(q);
  }

  write(out: ByteWriter): void {
    this.#sketch.write(out);
  }

  static read(this: void, from: ByteReader): Quantile {
    return new Quantile(QuantileSketch.read(from));
  }
}

function writeValues(out: ByteWriter, type: ColumnType, values: ReadonlySet<NonNullable<Datum>>): void {
  out.unsigned(values.size);
  for (const value of [...values].toSorted(compareData)) out.datum(type, value);
}

function readValues(from: ByteReader, type: ColumnType): NonNullable<Datum>[] {
  return Array.from({ length: from.unsigned() }, () => from.datum(type));
}
