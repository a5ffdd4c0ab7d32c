import type { Registry } from 'prom-client';
import type { Logger } from '../../platform/logger.ts';
import type { Recorder } from '../accounting/recorder.ts';
import type { RefusalReason } from '../admission/refusal.ts';
import { ModelQueues } from '../batching/model-queues.ts';
import type { InferenceMetrics } from '../metrics.ts';
import type { ServedVersion } from '../model/served-version.ts';
import type { RouteTable } from '../routing/route-table.ts';
import type { Accounting } from '../scoring/answer.ts';
import { Circuit, Circuits } from '../scoring/circuit.ts';
import { createFeatureBatchReader, type OnlineReader, STORE_CIRCUIT } from '../scoring/feature-batch.ts';
import { Predictor, type Work } from '../scoring/predictor.ts';
import { createScoringMetrics } from '../scoring/scoring-metrics.ts';
import { VERSION_CIRCUIT, VersionScorer } from '../scoring/score-version.ts';
import { SHADOW_LIMITS, ShadowRunner } from '../scoring/shadow-runner.ts';

const LIMITS = { maxBatchRows: 128, maxQueueRows: 4_096 } as const;
/** Unless said otherwise. */
const STORE_TIMEOUT_MS = 500;

export interface ScoringPipelineDeps {
  readonly table: RouteTable;
  readonly store: OnlineReader;
  /** How long a batch waits for what it reads of the store. */
  readonly storeTimeoutMs?: number | undefined;
  readonly recorder: Pick<Recorder, 'accounting'>;
  readonly metrics: Pick<InferenceMetrics, 'accounting'>;
  readonly registry: Registry;
  readonly logger: Logger;
  readonly onRefused: (reason: RefusalReason) => void;
}

export interface ScoringPipeline {
  readonly queues: ModelQueues<Work>;
  /** Of the versions. */
  readonly circuits: Circuits<ServedVersion>;
}

/** From the queues of a process to answers: features, versions, their circuits, the shadow, and who is told of it all. */
export function createScoringPipeline({
  table,
  store,
  storeTimeoutMs = STORE_TIMEOUT_MS,
  recorder,
  metrics,
  registry,
  logger,
  onRefused,
}: ScoringPipelineDeps): ScoringPipeline {
  const nowMs = (): number => performance.now();
  const circuits = new Circuits<ServedVersion>(VERSION_CIRCUIT, ({ model, version }) =>
    logger.warn({ model, version }, 'a version fails too often and is left alone for a moment'),
  );
  let storeFailure: unknown;
  const storeCircuit = new Circuit(STORE_CIRCUIT, () =>
    logger.warn({ err: storeFailure }, 'the online store does not answer and is left alone for a moment'),
  );
  const versions = () => [...table.entries.values()].flatMap(({ loaded }) => loaded);
  const scoring = createScoringMetrics(registry, { versions, circuits, store: storeCircuit, nowMs });
  const accounting = scoring.counting(both(recorder.accounting, metrics.accounting));
  const features = createFeatureBatchReader(store, {
    timeoutMs: storeTimeoutMs,
    circuit: storeCircuit,
    nowMs,
    onFailure: (error) => (storeFailure = error),
  });
  const scorer = new VersionScorer({ circuits, nowMs });
  const queuedRows = (): number => queues.queuedRows;
  const cpuMs = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  };
  const shadows = new ShadowRunner({ accounting, scorer, queuedRows, limits: SHADOW_LIMITS, nowMs, cpuMs });
  const predictor = new Predictor({ entryOf: (model) => table.find(model), features, scorer, accounting, shadows });
  const queues = new ModelQueues<Work>(
    { run: (batch) => predictor.run(batch), limits: LIMITS, onRefused: (_work, { reason }) => onRefused(reason) },
    (model) => table.find(model)?.champion.scorer.offLoop === true,
  );
  return { queues, circuits };
}

function both(first: Pick<Accounting, 'answered' | 'shadowScored'>, second: Accounting): Accounting {
  return {
    ...second,
    answered(entry, answers, latencyMs, trace) {
      first.answered(entry, answers, latencyMs, trace);
      second.answered(entry, answers, latencyMs, trace);
    },
    shadowScored(entry, scores) {
      first.shadowScored(entry, scores);
      second.shadowScored(entry, scores);
    },
  };
}
