import { Counter, Gauge, type Registry } from 'prom-client';
import {
  CounterFamily,
  type CounterSeries,
  HistogramFamily,
  type HistogramSeries,
  type Labels,
} from '../platform/metric-series.ts';
import type { ServedVersion } from './model/served-version.ts';
import type { RouteEntry } from './routing/route-entry.ts';
import type { Accounting, Standing } from './scoring/answer.ts';

const REQUEST_SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
/** Parts of a request are shorter than the whole. */
const PART_SECONDS = [0.00005, 0.0001, 0.00025, ...REQUEST_SECONDS];
const BATCH_ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
/** Series of a version stay this long after it has left the route, so that what it counted last is scraped. */
const KEEP_SERIES_MS = 10 * 60_000;

/** The inference tier's own metrics. Labels are few: models, routed versions, arms and rungs, never units, ids or texts. */
export interface InferenceMetrics {
  readonly accounting: Accounting;
  /** An answer has been written out as text and handed to the socket. */
  written(entry: RouteEntry, by: Standing, seconds: number): void;
  /** A batch of the prediction log is in PostgreSQL. */
  logWritten(rows: number, seconds: number): void;
  logDropped(rows: number): void;
  tallyDropped(rows: number): void;
  epoch(model: string, epoch: number): void;
  routesRead(): void;
  routeFailure(model: string): void;
}

export interface MetricSources {
  readonly logBufferRows: () => number;
  readonly nowMs: () => number;
  /** Versions that are routed now; series of others go after a while. */
  readonly versions?: () => Iterable<Pick<ServedVersion, 'model' | 'version'>>;
}

/** The series of one kind of answer. */
interface AnswerSeries {
  readonly version: number;
  readonly arm: string;
  readonly rung: string;
  readonly seconds: HistogramSeries;
  readonly answers: CounterSeries;
}

/** The same of one part of a request. */
interface PartSeries {
  readonly version: number;
  readonly arm: string;
  readonly rung: string;
  readonly seconds: HistogramSeries;
}

export function createInferenceMetrics(registry: Registry, sources: MetricSources): InferenceMetrics {
  const registers = [registry];
  const isGone = versionsGone(sources);
  const request = new HistogramFamily({
    name: 'serin_inference_request_seconds',
    help: 'From the arrival of a predict request to its answer.',
    buckets: REQUEST_SECONDS,
    registry,
    collect: () => {
      if (request.forget(isGone) > 0) seriesOf = new WeakMap();
    },
  });
  const part = (name: string, help: string) => partSeconds({ name, help, registry, isGone });
  const queue = part(
    'serin_inference_queue_seconds',
    'From the arrival of a predict request to the beginning of its batch.',
  );
  const feature = part(
    'serin_inference_feature_seconds',
    'Reading and assembling the features of a batch, for all of its versions in one read.',
  );
  const compute = part('serin_inference_compute_seconds', 'Computing the scores that a version has in a batch.');
  const write = part('serin_inference_write_seconds', 'Writing an answer out and handing it to the socket.');
  const batch = new HistogramFamily({
    name: 'serin_inference_batch_rows',
    help: 'Rows per batch.',
    buckets: BATCH_ROWS,
    registry,
  }).of({});
  const answers = new CounterFamily({
    name: 'serin_inference_answers_total',
    help: 'Instances answered.',
    registry,
    collect: () => {
      if (answers.forget(isGone) > 0) seriesOf = new WeakMap();
    },
  });
  const errors = new CounterFamily({
    name: 'serin_inference_arm_errors_total',
    help: 'Instances the version of the arm failed to answer; lower rungs answered them.',
    registry,
  });
  const logRows = new CounterFamily({
    name: 'serin_inference_log_rows_total',
    help: 'Rows of the prediction log that are in PostgreSQL.',
    registry,
  }).of({});
  const logSeconds = new HistogramFamily({
    name: 'serin_inference_log_write_seconds',
    help: 'Writing a batch of the prediction log, in the background.',
    buckets: REQUEST_SECONDS,
    registry,
  }).of({});
  const dropped = new CounterFamily({
    name: 'serin_inference_dropped_total',
    help: 'Rows that did not fit into a buffer: shadow work, prediction log rows, tallies.',
    registry,
  });
  const [shadowDropped, logDropped, tallyDropped] = [
    dropped.of({ what: 'shadow' }),
    dropped.of({ what: 'log' }),
    dropped.of({ what: 'tally' }),
  ];
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
    name: 'serin_inference_log_buffer_rows',
    help: 'Prediction log rows waiting to be written.',
    registers,
    collect() {
      this.set(sources.logBufferRows());
    },
  });

  /** Looked up once for each entry of the route and kind of answer; an entry is replaced whenever its route changes. */
  let seriesOf = new WeakMap<RouteEntry, AnswerSeries[]>();

  function seriesFor(
    entry: RouteEntry,
    { version, arm, rung }: { readonly version: number; readonly arm: string; readonly rung: string },
  ) {
    let kinds = seriesOf.get(entry);
    if (kinds === undefined) seriesOf.set(entry, (kinds = []));
    for (const kind of kinds) if (kind.version === version && kind.arm === arm && kind.rung === rung) return kind;
    const labels = { model: entry.route.model, version: String(version), arm, rung };
    const kind = { version, arm, rung, seconds: request.of(labels), answers: answers.of(labels) };
    kinds.push(kind);
    return kind;
  }

  return {
    accounting: {
      answered(entry, given, latencyMs) {
        const seconds = latencyMs / 1000;
        for (const answer of given) {
          const series = seriesFor(entry, answer);
          series.seconds.observe(seconds);
          series.answers.add();
          if (answer.error !== null) errors.of({ model: entry.route.model, arm: answer.arm }).add();
        }
      },
      shadowScored(entry, scores) {
        for (const { version, error } of scores) {
          seriesFor(entry, { version, arm: 'shadow', rung: 'shadow' }).answers.add();
          if (error !== null) errors.of({ model: entry.route.model, arm: 'shadow' }).add();
        }
      },
      shadowDropped: (_entry, rows) => shadowDropped.add(rows),
      batchDone: (rows) => batch.observe(rows),
      queued: queue,
      read: feature,
      computed: compute,
    },
    written: write,
    logWritten(rows, seconds) {
      logRows.add(rows);
      logSeconds.observe(seconds);
    },
    logDropped: (rows) => logDropped.add(rows),
    tallyDropped: (rows) => tallyDropped.add(rows),
    epoch: (model, value) => epoch.set({ model }, value),
    routesRead: () => {
      routesReadMs = sources.nowMs();
    },
    routeFailure: (model) => failures.inc({ model }),
  };
}

interface PartOptions {
  readonly name: string;
  readonly help: string;
  readonly registry: Registry;
  readonly isGone: (labels: Labels) => boolean;
}

/** The histogram of a part of requests, by who was asked; its series are looked up once for each entry of the route. */
function partSeconds({ name, help, registry, isGone }: PartOptions) {
  let seriesOf = new WeakMap<RouteEntry, PartSeries[]>();
  const family = new HistogramFamily({
    name,
    help,
    buckets: PART_SECONDS,
    registry,
    collect: () => {
      if (family.forget(isGone) > 0) seriesOf = new WeakMap();
    },
  });
  return (entry: RouteEntry, { version, arm, rung }: Standing, seconds: number): void => {
    let known = seriesOf.get(entry);
    if (known === undefined) seriesOf.set(entry, (known = []));
    for (const each of known) {
      if (each.version !== version || each.arm !== arm || each.rung !== rung) continue;
      each.seconds.observe(seconds);
      return;
    }
    const labels = { model: entry.route.model, version: String(version), arm, rung };
    const own = { version, arm, rung, seconds: family.of(labels) };
    known.push(own);
    own.seconds.observe(seconds);
  };
}

/** Whether labels speak of a version that left its route a while ago; asked at scrapes only. */
function versionsGone({ versions, nowMs }: MetricSources): (labels: Labels) => boolean {
  const seenMs = new Map<string, number>();
  return ({ model, version, rung }) => {
    if (versions === undefined) return false;
    const now = nowMs();
    for (const routed of versions()) {
      seenMs.set(`${routed.model} ${routed.version}`, now);
      seenMs.set(`* ${routed.version}`, now);
    }
    // what a fallback model answered is counted for the model that was asked, by the version of the other one
    const key = `${rung === 'fallback' ? '*' : model} ${version}`;
    const last = seenMs.get(key);
    // one that was routed and gone between two scrapes is kept as long as the others
    if (last === undefined) seenMs.set(key, now);
    return now - (last ?? now) > KEEP_SERIES_MS;
  };
}
