import type { Registry } from 'prom-client';
import type { Config } from '../../platform/config.ts';
import { Admission, clientRateOf } from './admission.ts';
import { type AdmissionMetricSources, createAdmissionMetrics } from './admission-metrics.ts';
import { startBackpressure } from './backpressure.ts';
import { BodyMemory } from './body-memory.ts';
import type { RefusalReason } from './refusal.ts';

export interface StartedAdmission {
  readonly admission: Admission;
  /** Counts a refusal that was made elsewhere. */
  readonly onRefused: (reason: RefusalReason) => void;
  /** To be called before the server leaves: whoever is kept waiting is read from again. */
  readonly release: () => void;
}

/** Admission of one process, with its metrics. @param sources asked when metrics are read */
export function startAdmission(
  registry: Registry,
  config: Partial<Config>,
  sources: () => Omit<AdmissionMetricSources, 'backpressure' | 'bodies'>,
): StartedAdmission {
  const backpressure = startBackpressure();
  const bodies = new BodyMemory((config.inferenceBodyMemoryMib ?? 0) * 2 ** 20);
  const onRefused = createAdmissionMetrics(registry, () => ({ ...sources(), backpressure, bodies }));
  const admission = new Admission({ clientRate: clientRateOf(config), onRefused, backpressure, bodies });
  return {
    admission,
    onRefused,
    release: () => backpressure.release(),
  };
}
