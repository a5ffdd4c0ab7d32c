import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Accounting } from './scoring/answer.ts';

const REQUEST_SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const BATCH_ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/** The inference tier's own metrics. Labels are few: models, arms and rungs, never units, ids or versions without bound. */
export interface InferenceMetrics {
  readonly accounting: Accounting;
  logDropped(rows: number): void;
  tallyDropped(rows: number): void;
  epoch(model: string, epoch: number): void;
  routesRead(): void;
  routeFailure(model: string): void;
  refused(): void;
}

export interface MetricSources {
  readonly queuedRows: () => number;
  readonly logBufferRows: () => number;
  readonly nowMs: () => number;
}

export function createInferenceMetrics(registry: Registry, sources: MetricSources): InferenceMetrics {
  const registers = [registry];
  const request = new Histogram({
    name: 'serin_inference_request_seconds',
    help: 'From the arrival of a predict request to its answer.',
    labelNames: ['model', 'arm', 'rung'],
    buckets: REQUEST_SECONDS,
    registers,
  });
  const feature = new Histogram({
    name: 'serin_inference_feature_seconds',
    help: 'Reading and assembling the features of a batch.',
    buckets: REQUEST_SECONDS,
    registers,
  });
  const compute = new Histogram({
    name: 'serin_inference_compute_seconds',
    help: 'Computing the scores of a batch.',
    buckets: REQUEST_SECONDS,
    registers,
  });
  const batch = new Histogram({
    name: 'serin_inference_batch_rows',
    help: 'Rows per batch.',
    buckets: BATCH_ROWS,
    registers,
  });
  const answers = new Counter({
    name: 'serin_inference_answers_total',
    help: 'Instances answered.',
    labelNames: ['model', 'arm', 'rung'],
    registers,
  });
  const errors = new Counter({
    name: 'serin_inference_arm_errors_total',
    help: 'Instances the version of the arm failed to answer; lower rungs answered them.',
    labelNames: ['model', 'arm'],
    registers,
  });
  const dropped = new Counter({
    name: 'serin_inference_dropped_total',
    help: 'Rows that did not fit into a buffer: shadow work, prediction log rows, tallies.',
    labelNames: ['what'],
    registers,
  });
  const refusals = new Counter({
    name: 'serin_inference_refused_total',
    help: 'Requests refused because the queue was full.',
    registers,
  });
  const epoch = new Gauge({
    name: 'serin_inference_route_epoch',
    help: 'Routing epoch in force.',
    labelNames: ['model'],
    aggregator: 'min',
    registers,
  });
  const failures = new Counter({
    name: 'serin_inference_route_failures_total',
    help: 'Route changes that could not be taken over because a version did not load.',
    labelNames: ['model'],
    registers,
  });
  let routesReadMs = sources.nowMs();
  new Gauge({
    name: 'serin_inference_route_staleness_seconds',
    help: 'Since the routes were last read. Answers continue by the last table when PostgreSQL is gone.',
    aggregator: 'max',
    registers,
    collect() {
      this.set((sources.nowMs() - routesReadMs) / 1000);
    },
  });
  new Gauge({
    name: 'serin_inference_queued_rows',
    help: 'Rows waiting for a batch.',
    registers,
    collect() {
      this.set(sources.queuedRows());
    },
  });
  new Gauge({
    name: 'serin_inference_log_buffer_rows',
    help: 'Prediction log rows waiting to be written.',
    registers,
    collect() {
      this.set(sources.logBufferRows());
    },
  });

  return {
    accounting: {
      answered({ route }, given, latencyMs) {
        const seconds = latencyMs / 1000;
        for (const { arm, rung, error } of given) {
          const labels = { model: route.model, arm, rung };
          request.observe(labels, seconds);
          answers.inc(labels);
          if (error !== null) errors.inc({ model: route.model, arm });
        }
      },
      shadowScored({ route }, scores) {
        answers.inc({ model: route.model, arm: 'shadow', rung: 'shadow' }, scores.length);
        const failed = scores.filter(({ error }) => error !== null).length;
        if (failed > 0) errors.inc({ model: route.model, arm: 'shadow' }, failed);
      },
      shadowDropped: (_entry, rows) => dropped.inc({ what: 'shadow' }, rows),
      batchDone(rows, featureSeconds, computeSeconds) {
        batch.observe(rows);
        feature.observe(featureSeconds);
        compute.observe(computeSeconds);
      },
    },
    logDropped: (rows) => dropped.inc({ what: 'log' }, rows),
    tallyDropped: (rows) => dropped.inc({ what: 'tally' }, rows),
    epoch: (model, value) => epoch.set({ model }, value),
    routesRead: () => {
      routesReadMs = sources.nowMs();
    },
    routeFailure: (model) => failures.inc({ model }),
    refused: () => refusals.inc(),
  };
}
