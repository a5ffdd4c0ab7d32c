import { HistogramSeries } from '../../platform/metric-series.ts';

/** Counters of one model version in the form of the protocol's statistics extension; durations are nanoseconds, summed. */
export interface Durations {
  count: number;
  ns: number;
}

export interface BatchStatistics {
  readonly batch_size: number;
  readonly compute_input: Durations;
  readonly compute_infer: Durations;
  readonly compute_output: Durations;
}

export interface ModelStatisticsReport {
  readonly name: string;
  readonly version: string;
  /** Milliseconds since the epoch; 0: none yet. */
  readonly last_inference: number;
  /** Rows answered. */
  readonly inference_count: number;
  /** Runs of the model: fewer than rows where requests were batched. */
  readonly execution_count: number;
  readonly inference_stats: Readonly<Record<(typeof PHASES)[number], Durations>>;
  readonly batch_stats: readonly BatchStatistics[];
}

const PHASES = [
  'success',
  'fail',
  'queue',
  'compute_input',
  'compute_infer',
  'compute_output',
  'cache_hit',
  'cache_miss',
] as const;

const NS_PER_MS = 1_000_000;

/** Upper bounds of the buckets that requests are counted in. */
export const REQUEST_SECONDS = Float64Array.of(
  0.00025,
  0.0005,
  0.001,
  0.002,
  0.005,
  0.01,
  0.02,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
);

export class ModelStatistics {
  /** Of answered requests. */
  readonly seconds = new HistogramSeries(REQUEST_SECONDS);
  #lastInference = 0;
  #inferences = 0;
  #executions = 0;
  readonly #phases = Object.fromEntries(PHASES.map((phase) => [phase, { count: 0, ns: 0 }])) as Record<
    (typeof PHASES)[number],
    Durations
  >;
  readonly #batches = new Map<number, BatchStatistics>();

  /** A request that was answered: the whole of it, and how long it waited for its batch. */
  answered(rows: number, totalMs: number, queueMs: number): void {
    this.#lastInference = Date.now();
    this.#inferences += rows;
    this.seconds.observe(totalMs / 1_000);
    add(this.#phases.success, totalMs);
    add(this.#phases.queue, queueMs);
  }

  failed(totalMs: number): void {
    add(this.#phases.fail, totalMs);
  }

  /** A run of the model over `rows` rows. */
  executed(rows: number, inputMs: number, inferMs: number, outputMs: number): void {
    this.#executions++;
    add(this.#phases.compute_input, inputMs);
    add(this.#phases.compute_infer, inferMs);
    add(this.#phases.compute_output, outputMs);
    let batch = this.#batches.get(rows);
    if (batch === undefined) {
      batch = {
        batch_size: rows,
        compute_input: { count: 0, ns: 0 },
        compute_infer: { count: 0, ns: 0 },
        compute_output: { count: 0, ns: 0 },
      };
      this.#batches.set(rows, batch);
    }
    add(batch.compute_input, inputMs);
    add(batch.compute_infer, inferMs);
    add(batch.compute_output, outputMs);
  }

  report(name: string, version: string): ModelStatisticsReport {
    return {
      name,
      version,
      last_inference: this.#lastInference,
      inference_count: this.#inferences,
      execution_count: this.#executions,
      inference_stats: structuredClone(this.#phases),
      batch_stats: structuredClone([...this.#batches.values()].sort((a, b) => a.batch_size - b.batch_size)),
    };
  }
}

function add(durations: Durations, ms: number): void {
  durations.count++;
  durations.ns += Math.round(ms * NS_PER_MS);
}

/** The reports of several processes that serve the same models, as one. */
export function mergeStatistics(reports: readonly ModelStatisticsReport[]): ModelStatisticsReport[] {
  const merged = new Map<string, ModelStatisticsReport>();
  for (const report of reports) {
    const key = `${report.name} ${report.version}`;
    const standing = merged.get(key);
    merged.set(key, standing === undefined ? report : sumOf(standing, report));
  }
  return [...merged.values()];
}

function sumOf(a: ModelStatisticsReport, b: ModelStatisticsReport): ModelStatisticsReport {
  const batches = new Map(a.batch_stats.map((batch) => [batch.batch_size, batch]));
  for (const batch of b.batch_stats) {
    const standing = batches.get(batch.batch_size);
    batches.set(
      batch.batch_size,
      standing === undefined
        ? batch
        : {
            batch_size: batch.batch_size,
            compute_input: plus(standing.compute_input, batch.compute_input),
            compute_infer: plus(standing.compute_infer, batch.compute_infer),
            compute_output: plus(standing.compute_output, batch.compute_output),
          },
    );
  }
  return {
    name: a.name,
    version: a.version,
    last_inference: Math.max(a.last_inference, b.last_inference),
    inference_count: a.inference_count + b.inference_count,
    execution_count: a.execution_count + b.execution_count,
    inference_stats: Object.fromEntries(
      PHASES.map((phase) => [phase, plus(a.inference_stats[phase], b.inference_stats[phase])]),
    ) as Record<(typeof PHASES)[number], Durations>,
    batch_stats: [...batches.values()].sort((x, y) => x.batch_size - y.batch_size),
  };
}

function plus(a: Durations, b: Durations): Durations {
  return { count: a.count + b.count, ns: a.ns + b.ns };
}
