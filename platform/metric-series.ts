/**
 * Histograms and counters whose series are looked up once and then only added to. prom-client finds the series of a set of labels
 * again at each observation, which costs as much as scoring a small model does; what it reads at a scrape is the same.
 */
import type { Metric, Registry } from 'prom-client';

export type Labels = Readonly<Record<string, string>>;

interface Value {
  readonly metricName: string;
  readonly labels: Record<string, string | number>;
  readonly value: number;
}

interface FamilyOptions {
  readonly name: string;
  readonly help: string;
  readonly registry: Registry;
  /** Called before a scrape is answered: to forget series, or to bring them up to date. */
  readonly collect?: () => void;
}

/** Series of one metric, by their labels. */
abstract class Family<Series> {
  readonly name: string;
  readonly help: string;
  readonly aggregator = 'sum';
  abstract readonly type: 'histogram' | 'counter';
  readonly #collect: (() => void) | undefined;
  readonly #series = new Map<string, { readonly labels: Labels; readonly series: Series }>();

  protected constructor({ name, help, collect, registry }: FamilyOptions) {
    this.name = name;
    this.help = help;
    this.#collect = collect;
    // the registry asks a metric for its name and `get`; its type describes prom-client's own classes
    registry.registerMetric(this as unknown as Metric);
  }

  /** The series of these labels, made when there is none; to be kept by who adds to it often. */
  of(labels: Labels): Series {
    const key = JSON.stringify(labels);
    const known = this.#series.get(key);
    if (known !== undefined) return known.series;
    const series = this.make();
    this.#series.set(key, { labels, series });
    return series;
  }

  /** A series that is kept and added to elsewhere. */
  adopt(labels: Labels, series: Series): void {
    this.#series.set(JSON.stringify(labels), { labels, series });
  }

  /** @returns how many; what somebody keeps of them is added to in vain */
  forget(when: (labels: Labels) => boolean): number {
    const before = this.#series.size;
    for (const [key, { labels }] of this.#series) if (when(labels)) this.#series.delete(key);
    return before - this.#series.size;
  }

  /** prom-client's: what a scrape is answered with, and what a process of a cluster sends to its primary. */
  get(): Promise<object> {
    this.#collect?.();
    const values: Value[] = [];
    for (const { labels, series } of this.#series.values()) values.push(...this.valuesOf(labels, series));
    const { name, help, type, aggregator } = this;
    return Promise.resolve({ name, help, type, values, aggregator });
  }

  /** prom-client's. */
  reset(): void {
    this.#series.clear();
  }

  protected abstract make(): Series;
  protected abstract valuesOf(labels: Labels, series: Series): Value[];
}

export class HistogramSeries {
  readonly #bounds: Float64Array;
  /** Per bucket, not summed up; the last one is beyond every bound. */
  readonly counts: Float64Array;
  sum = 0;

  /** @param bounds upper ones, ascending, without +Inf */
  constructor(bounds: Float64Array) {
    this.#bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
    this.counts[bucket]!++;
    this.sum += value;
  }
}

export class HistogramFamily extends Family<HistogramSeries> {
  readonly type = 'histogram';
  readonly #bounds: Float64Array;

  /** @param buckets upper bounds, ascending, without +Inf; adopted series have the same */
  constructor({ buckets, ...options }: FamilyOptions & { readonly buckets: ArrayLike<number> }) {
    super(options);
    this.#bounds = Float64Array.from(buckets);
  }

  protected make(): HistogramSeries {
    return new HistogramSeries(this.#bounds);
  }

  protected valuesOf(labels: Labels, { counts, sum }: HistogramSeries): Value[] {
    const values: Value[] = [];
    let count = 0;
    for (let bucket = 0; bucket < counts.length; bucket++) {
      count += counts[bucket]!;
      const le = bucket === this.#bounds.length ? '+Inf' : this.#bounds[bucket]!;
      values.push({ metricName: `${this.name}_bucket`, labels: { le, ...labels }, value: count });
    }
    values.push({ metricName: `${this.name}_sum`, labels: { ...labels }, value: sum });
    values.push({ metricName: `${this.name}_count`, labels: { ...labels }, value: count });
    return values;
  }
}

export class CounterSeries {
  value = 0;

  add(by = 1): void {
    this.value += by;
  }
}

export class CounterFamily extends Family<CounterSeries> {
  readonly type = 'counter';

  constructor(options: FamilyOptions) {
    super(options);
  }

  protected make(): CounterSeries {
    return new CounterSeries();
  }

  protected valuesOf(labels: Labels, { value }: CounterSeries): Value[] {
    return [{ metricName: this.name, labels: { ...labels }, value }];
  }
}
