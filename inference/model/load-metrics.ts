import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Logger } from '../../platform/logger.ts';
import type { ModelLoaderOptions } from './model-loader.ts';
import type { ModelReport, Runner } from './model-report.ts';

const LOAD_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];

export interface HeldModel {
  readonly model: string;
  readonly version: string;
  readonly report: ModelReport;
}

export type UnloadReason = 'command' | 'replaced' | 'memory' | 'unrouted';

export interface LoadMetrics {
  /** @param report null: the load failed */
  loaded(seconds: number, report: ModelReport | null): void;
  unloaded(reason: UnloadReason): void;
  threadLost(): void;
}

/** What is loaded, what it holds and what loading took. Labels are models and versions that are loaded now, no others. */
export function createLoadMetrics(registry: Registry, held: () => Iterable<HeldModel>): LoadMetrics {
  const registers = [registry];
  const seconds = new Histogram({
    name: 'serin_inference_model_load_seconds',
    help: 'Loading, proving and warming up a model, in a thread.',
    labelNames: ['runner'],
    buckets: LOAD_SECONDS,
    registers,
  });
  const loads = new Counter({
    name: 'serin_inference_model_loads_total',
    help: 'Models loaded, and loads that failed.',
    labelNames: ['outcome'],
    registers,
  });
  const unloads = new Counter({
    name: 'serin_inference_model_unloads_total',
    help: 'Models unloaded, by why: a command, another file or version in its place, the memory budget, no route to it.',
    labelNames: ['reason'],
    registers,
  });
  const threads = new Counter({
    name: 'serin_inference_model_threads_lost_total',
    help: 'Threads of models that died, or were given up since a run did not end; the model is loaded again.',
    registers,
  });
  new Gauge({
    name: 'serin_inference_model_bytes',
    help: 'Memory of a loaded model, estimated from its file (exact for trees), by who computes it.',
    labelNames: ['model', 'version', 'runner'],
    registers,
    collect() {
      this.reset();
      for (const { model, version, report } of held())
        this.set({ model, version, runner: report.runner satisfies Runner }, report.memoryBytes);
    },
  });
  return {
    loaded(took, report) {
      loads.inc({ outcome: report === null ? 'failed' : 'loaded' });
      if (report !== null) seconds.observe({ runner: report.runner }, took);
    },
    unloaded: (reason) => unloads.inc({ reason }),
    threadLost: () => threads.inc(),
  };
}

/** What a node does with what its loader tells it. */
export function reportingLoads(
  metrics: LoadMetrics,
  logger: Logger,
): Pick<ModelLoaderOptions, 'onLoad' | 'onThreadLost'> {
  return {
    onLoad: (seconds, report) => metrics.loaded(seconds, report),
    onThreadLost(model, reason) {
      metrics.threadLost();
      logger.error({ model, reason }, 'the thread of a model is lost; the model is being loaded again');
    },
  };
}
