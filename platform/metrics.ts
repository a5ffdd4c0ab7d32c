import { performance, type EventLoopUtilization } from 'node:perf_hooks';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';

export interface MetricsOptions {
  readonly service: string;
  readonly node: string;
}

/**
 * A registry with the process's own metrics (`process_*`, `nodejs_*`, under their usual names, so that common dashboards
 * work) and event loop utilisation. Serin's own metrics are named `serin_*` and registered by whoever counts.
 */
export function createMetrics({ service, node }: MetricsOptions): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ service, node });
  collectDefaultMetrics({ register: registry });
  let last: EventLoopUtilization = performance.eventLoopUtilization();
  new Gauge({
    name: 'serin_event_loop_utilization',
    help: 'Share of the time since the last scrape in which the event loop was busy, 0 to 1.',
    aggregator: 'max', // over the processes of a cluster: the busiest one is the one that queues
    registers: [registry],
    collect() {
      const now = performance.eventLoopUtilization();
      this.set(performance.eventLoopUtilization(now, last).utilization);
      last = now;
    },
  });
  return registry;
}
