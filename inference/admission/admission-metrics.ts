import { Counter, Gauge, type Registry } from 'prom-client';
import type { MicroBatcher, QueuedWork } from '../batching/micro-batcher.ts';
import type { Backpressure } from './backpressure.ts';
import type { BodyMemory } from './body-memory.ts';
import type { CostBook } from './cost-book.ts';
import { NORMAL, PRIORITIES, type Priority } from './priority.ts';
import { REFUSAL_REASONS, type RefusalReason } from './refusal.ts';

export interface AdmissionMetricSources {
  readonly batchers: readonly Pick<MicroBatcher<QueuedWork>, 'queuedRowsOf' | 'estimatedWaitMs' | 'busyMs'>[];
  /** By what is asked: `predict`, `infer`. */
  readonly costs: Readonly<Record<string, CostBook>>;
  readonly backpressure: Pick<Backpressure, 'pausedConnections'>;
  readonly bodies: Pick<BodyMemory, 'heldBytes'>;
}

/** What an autoscaler looks at, and why requests were turned away. @param sources asked when metrics are read @returns counts a refusal */
export function createAdmissionMetrics(
  registry: Registry,
  sources: () => AdmissionMetricSources,
): (reason: RefusalReason) => void {
  const registers = [registry];
  const refusals = new Counter({
    name: 'serin_inference_refused_total',
    help: 'Requests refused: their deadline could not be met, their turn came too late, the queue was full, their place went to more urgent work, their client was over its rate, or there was no room for their body.',
    labelNames: ['reason'],
    registers,
  });
  const byReason = new Map(REFUSAL_REASONS.map((reason) => [reason, refusals.labels(reason)]));
  for (const counter of byReason.values()) counter.inc(0);
  new Gauge({
    name: 'serin_inference_queued_rows',
    help: 'Rows waiting for a batch.',
    labelNames: ['priority'],
    registers,
    collect() {
      const { batchers } = sources();
      PRIORITIES.forEach((priority, at) =>
        this.set({ priority }, sum(batchers.map((batcher) => batcher.queuedRowsOf(at as Priority)))),
      );
    },
  });
  new Gauge({
    name: 'serin_inference_paused_connections',
    help: 'Connections that nothing is read from for a moment, because refusing took too much of the process.',
    registers,
    collect() {
      this.set(sources().backpressure.pausedConnections);
    },
  });
  new Gauge({
    name: 'serin_inference_body_bytes',
    help: 'What bodies that came in pieces hold until they are answered.',
    registers,
    collect() {
      this.set(sources().bodies.heldBytes);
    },
  });
  new Gauge({
    name: 'serin_inference_estimated_wait_seconds',
    help: 'How long a request of normal priority would wait for its batch now.',
    aggregator: 'max',
    registers,
    collect() {
      const nowMs = performance.now();
      const waits = sources().batchers.map((batcher) => batcher.estimatedWaitMs(NORMAL, undefined, nowMs));
      this.set(Math.max(...waits) / 1_000);
    },
  });
  new Counter({
    name: 'serin_inference_busy_seconds_total',
    help: 'Time in which a batch ran; its rate is the share of the time that the batcher is busy.',
    registers,
    collect() {
      this.reset();
      this.inc(sum(sources().batchers.map(({ busyMs }) => busyMs)) / 1_000);
    },
  });
  const part = (
    name: string,
    help: string,
    secondsOf: (cost: { fixedMs: number; perRowMs: number }) => number,
  ): void => {
    new Gauge({
      name,
      help,
      labelNames: ['model', 'call'],
      aggregator: 'max',
      registers,
      collect() {
        for (const [call, book] of Object.entries(sources().costs))
          for (const [model, cost] of book.entries()) this.set({ model, call }, secondsOf(cost));
      },
    });
  };
  part('serin_inference_batch_fixed_seconds', 'Fitted cost of a batch, however small.', ({ fixedMs }) => fixedMs / 1e3);
  part(
    'serin_inference_batch_row_seconds',
    'Fitted cost of one more row of a batch.',
    ({ perRowMs }) => perRowMs / 1e3,
  );
  return (reason) => byReason.get(reason)!.inc();
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
