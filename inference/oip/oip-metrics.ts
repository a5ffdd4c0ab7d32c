import type { Registry } from 'prom-client';
import { CounterFamily, HistogramFamily } from '../../platform/metric-series.ts';
import type { TensorModel } from './model.ts';
import { REQUEST_SECONDS } from './statistics.ts';

const PARTS = ['queue', 'compute_input', 'compute_infer', 'compute_output'] as const;

/** The protocol's own statistics as metrics: counted once, where they are, and read at a scrape. */
export function createOipMetrics(registry: Registry, models: () => readonly TensorModel[]): void {
  const everything = (): boolean => true;
  const requests = new CounterFamily({
    name: 'serin_inference_oip_requests_total',
    help: 'Requests over the Open Inference Protocol that came to a model, by what came of them.',
    registry,
    collect() {
      requests.forget(everything);
      for (const { labels, report } of reports(models))
        for (const outcome of ['success', 'fail'] as const)
          requests.of({ ...labels, outcome }).value = report.inference_stats[outcome].count;
    },
  });
  const rows = new CounterFamily({
    name: 'serin_inference_oip_rows_total',
    help: 'Rows answered over the Open Inference Protocol.',
    registry,
    collect() {
      rows.forget(everything);
      for (const { labels, report } of reports(models)) rows.of(labels).value = report.inference_count;
    },
  });
  const runs = new CounterFamily({
    name: 'serin_inference_oip_runs_total',
    help: 'Runs of a model for the Open Inference Protocol; rows by runs is the mean batch.',
    registry,
    collect() {
      runs.forget(everything);
      for (const { labels, report } of reports(models)) runs.of(labels).value = report.execution_count;
    },
  });
  const parts = new CounterFamily({
    name: 'serin_inference_oip_seconds_total',
    help: 'Time of requests over the Open Inference Protocol by what it was spent on; the compute parts are of whole batches.',
    registry,
    collect() {
      parts.forget(everything);
      for (const { labels, report } of reports(models))
        for (const part of PARTS) parts.of({ ...labels, part }).value = report.inference_stats[part].ns / 1e9;
    },
  });
  const seconds = new HistogramFamily({
    name: 'serin_inference_oip_request_seconds',
    help: 'From a request over the Open Inference Protocol being understood to its answer.',
    buckets: REQUEST_SECONDS,
    registry,
    collect() {
      seconds.forget(everything);
      for (const { name: model, version, statistics } of models())
        seconds.adopt({ model, version }, statistics.seconds);
    },
  });
}

function reports(models: () => readonly TensorModel[]) {
  return models().map(({ name: model, version, statistics }) => ({
    labels: { model, version },
    report: statistics.report(model, version),
  }));
}
