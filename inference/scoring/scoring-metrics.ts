import { Counter, Gauge, type Registry } from 'prom-client';
import type { ServedVersion } from '../model/served-version.ts';
import type { Accounting } from './answer.ts';
import type { Circuit, Circuits, CircuitState } from './circuit.ts';

export interface ScoringMetricsSources {
  /** Versions that are loaded now; the series of others are removed. */
  readonly versions: () => Iterable<ServedVersion>;
  readonly circuits: Circuits<ServedVersion>;
  readonly store: Circuit;
  readonly nowMs: () => number;
}

export interface ScoringMetrics {
  /** Counts why versions did not answer, and passes everything on. */
  counting(accounting: Accounting): Accounting;
}

const OPENNESS: Readonly<Record<CircuitState, number>> = { closed: 0, half_open: 0.5, open: 1 };

/** Why versions did not answer, and whom nobody asks at the moment. */
export function createScoringMetrics(registry: Registry, sources: ScoringMetricsSources): ScoringMetrics {
  const { versions, circuits, store, nowMs } = sources;
  const registers = [registry];
  const fallbacks = new Counter({
    name: 'serin_inference_fallbacks_total',
    help: 'Instances that the version of their arm did not answer, by the reason.',
    labelNames: ['model', 'reason'],
    registers,
  });
  new Gauge({
    name: 'serin_inference_circuit_open',
    help: 'Whether a version is left alone because it fails: 0 no, 0.5 it is being tried, 1 yes.',
    labelNames: ['model', 'version'],
    aggregator: 'max',
    registers,
    collect() {
      this.reset();
      for (const served of versions()) {
        if (served.kind === 'rule') continue;
        const { model, version } = served;
        this.set({ model, version }, OPENNESS[circuits.of(served).state(nowMs())]);
      }
    },
  });
  new Gauge({
    name: 'serin_inference_store_circuit_open',
    help: 'Whether the online store is left alone because it fails: 0 no, 0.5 it is being tried, 1 yes.',
    aggregator: 'max',
    registers,
    collect() {
      this.set(OPENNESS[store.state(nowMs())]);
    },
  });
  return {
    counting: (accounting) => ({
      ...accounting,
      answered(entry, answers, latencyMs, trace) {
        accounting.answered(entry, answers, latencyMs, trace);
        for (const { reason } of answers) if (reason !== null) fallbacks.inc({ model: entry.route.model, reason });
      },
    }),
  };
}
