import { connectDatabase } from '../../db/database.ts';
import { listPredictions } from '../../db/predictions.ts';
import { readRedactionKeys } from '../../db/redaction.ts';
import { findPrincipal } from '../../db/tokens.ts';
import { SerinError } from '../../domain/errors.ts';
import type { Config } from '../../platform/config.ts';
import { openBlobStore } from '../../platform/file-blob-store.ts';
import type { Logger } from '../../platform/logger.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { createRecorder } from '../accounting/recorder.ts';
import { Redactor } from '../accounting/redaction.ts';
import { Admission, clientRateOf } from '../admission/admission.ts';
import { createAdmissionMetrics } from '../admission/admission-metrics.ts';
import { startBackpressure } from '../admission/backpressure.ts';
import { CostBook } from '../admission/cost-book.ts';
import { ModelQueues } from '../batching/model-queues.ts';
import { createInferenceApp } from '../http/inference-app.ts';
import { registerModelRoutes } from '../http/model-routes.ts';
import { registerPredictRoute } from '../http/predict-route.ts';
import { createTesterAccess } from '../http/tester-access.ts';
import { createInferenceMetrics, type InferenceMetrics } from '../metrics.ts';
import { createLoadMetrics, reportingLoads } from '../model/load-metrics.ts';
import { budgetBytes } from '../model/memory-budget.ts';
import { ModelLoader } from '../model/model-loader.ts';
import { createVersionSource, type VersionSourceDeps } from '../model/version-loader.ts';
import type { ServedVersion } from '../model/served-version.ts';
import { createOipMetrics } from '../oip/oip-metrics.ts';
import { type OipDeps, registerOipRoutes } from '../oip/routes.ts';
import { registerOpenApi } from '../openapi/openapi-routes.ts';
import { predictSchema } from '../openapi/predict-schema.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import { RouteTable } from '../routing/route-table.ts';
import { RouteWatcher } from '../routing/route-watcher.ts';
import type { Accounting } from '../scoring/answer.ts';
import { Circuit, Circuits } from '../scoring/circuit.ts';
import { createFeatureBatchReader, type OnlineReader, STORE_CIRCUIT } from '../scoring/feature-batch.ts';
import { Predictor, type Work } from '../scoring/predictor.ts';
import { createScoringMetrics } from '../scoring/scoring-metrics.ts';
import { VERSION_CIRCUIT, VersionScorer } from '../scoring/score-version.ts';
import { SHADOW_LIMITS, ShadowRunner } from '../scoring/shadow-runner.ts';
import { processGroup } from './process-group.ts';
import { routedRepository } from './routed-repository.ts';
import { SERVER_VERSION, type ServingNode } from './serving-node.ts';

export interface RoutedNodeOptions {
  readonly config: Pick<Config, 'databaseUrl' | 'blobUrl' | 'nodeId' | 'inferenceHost' | 'inferencePort'> &
    Partial<Config>;
  readonly logger: Logger;
  readonly inputOf: VersionSourceDeps['inputOf'];
  readonly store: OnlineReader;
  /** Replaced in tests that need a model which fails. */
  readonly wrapSource?: (source: ReturnType<typeof createVersionSource>) => ReturnType<typeof createVersionSource>;
}

const LIMITS = { maxBatchRows: 128, maxQueueRows: 4_096 } as const;
const STORE_TIMEOUT_MS = 500;
/** Longer than a batch may read features, wait for its shadow's turn and compute: on the event loop, and in a thread. */
const UNLOAD_AFTER_MS = { onLoop: 5_000, inThread: 30_000 } as const;
const DATABASE_CONNECTIONS = 3;

/** A serving process that routes by PostgreSQL: versions from the registry, features from the online store. */
export async function startRoutedNode({
  config,
  logger,
  inputOf,
  store,
  wrapSource = (source) => source,
}: RoutedNodeOptions): Promise<ServingNode> {
  const nowMicros = (): number => Date.now() * 1_000;
  const startedAt = nowMicros();
  const database = connectDatabase(config.databaseUrl, { name: 'inference', max: DATABASE_CONNECTIONS });
  const { db, pool } = database;
  // a connection that breaks while it is taken out of the pool speaks of it once to its query and once to nobody
  pool.on('connect', (client) => client.on('error', () => undefined));
  const registry = createMetrics({ service: 'inference', node: config.nodeId });
  const metrics: InferenceMetrics = createInferenceMetrics(registry, {
    logBufferRows: () => recorder.logBufferRows(),
    nowMs: () => performance.now(),
    versions: () => [...table.entries.values()].flatMap(({ loaded }) => loaded),
  });
  const redactor = new Redactor(async () => (await readRedactionKeys(db, config.redactionKey ?? ''))[0]!);
  const recorder = createRecorder({
    db,
    nodeId: config.nodeId,
    startedAt,
    nowMicros,
    redactor,
    onLogWritten: (rows, seconds) => metrics.logWritten(rows, seconds),
    onDrop: (what, rows) => (what === 'log' ? metrics.logDropped(rows) : metrics.tallyDropped(rows)),
    onFailure: (error) => logger.warn({ err: error }, 'tallies and predictions are kept until PostgreSQL takes them'),
  });
  const loading = createLoadMetrics(registry, () => table.held());
  const loader = new ModelLoader({ ...reportingLoads(loading, logger), givesWay: () => table.entries.size > 0 });
  const blobs = openBlobStore(config.blobUrl, { digestOf: (path) => loader.digestOf(path) });
  const table = new RouteTable({
    source: redactor.guard(wrapSource(createVersionSource({ db, blobs, loader, inputOf }))),
    unloadAfterMs: (served) => (served?.scorer.offLoop === false ? UNLOAD_AFTER_MS.onLoop : UNLOAD_AFTER_MS.inThread),
    memoryBytes: budgetBytes(config.inferenceModelMemoryMib ?? 0),
    onUnload: (reason) => loading.unloaded(reason),
    onUnloadFailure: (error) => logger.warn({ err: error }, 'a version was not unloaded'),
  });
  const watcher = new RouteWatcher({
    db,
    databaseUrl: config.databaseUrl,
    node: { nodeId: config.nodeId, address: `${config.inferenceHost}:${config.inferencePort}`, startedAt },
    table,
    metrics,
    logger,
  });

  const nowMs = (): number => performance.now();
  const circuits = new Circuits<ServedVersion>(VERSION_CIRCUIT, ({ model, version }) =>
    logger.warn({ model, version }, 'a version fails too often and is left alone for a moment'),
  );
  const storeCircuit = new Circuit(STORE_CIRCUIT, () =>
    logger.warn('the online store does not answer and is left alone for a moment'),
  );
  const versions = () => [...table.entries.values()].flatMap(({ loaded }) => loaded);
  const scoring = createScoringMetrics(registry, { versions, circuits, store: storeCircuit, nowMs });
  const accounting = scoring.counting(both(recorder.accounting, metrics.accounting));
  const features = createFeatureBatchReader(store, { timeoutMs: STORE_TIMEOUT_MS, circuit: storeCircuit, nowMs });
  const scorer = new VersionScorer({ circuits, nowMs });
  const queuedRows = (): number => queues.queuedRows;
  const cpuMs = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  };
  const shadows = new ShadowRunner({ accounting, scorer, queuedRows, limits: SHADOW_LIMITS, nowMs, cpuMs });
  const predictor = new Predictor({ entryOf: (model) => table.find(model), features, scorer, accounting, shadows });
  const queues = new ModelQueues<Work>(
    { run: (batch) => predictor.run(batch), limits: LIMITS, onRefused: (_work, { reason }) => refused(reason) },
    (model) => table.find(model)?.champion.scorer.offLoop === true,
  );
  const batcherOf = (model: string) => queues.batcherOf(model);
  const costs = { predict: new CostBook(), infer: new CostBook() };
  const backpressure = startBackpressure();
  const refused = createAdmissionMetrics(registry, () => ({ batchers: queues.all(), costs, backpressure }));
  const submit = (model: string, work: Work): void => batcherOf(model).submit(work);
  const admission = new Admission({ clientRate: clientRateOf(config), onRefused: refused, backpressure });
  const deadlineMsOf = (model: string): number | null => table.find(model)?.contract.deadlineMs ?? null;

  /** Refuses with the reason where a model should be served and is not yet. */
  function entryOf(model: string): RouteEntry | undefined {
    const entry = table.find(model);
    if (entry) return entry;
    const failure = table.failures.find((each) => each.model === model);
    if (failure) throw new SerinError('MODEL_NOT_READY', `"${model}" cannot be served yet: ${failure.reason}`);
    if (!watcher.hasRead) throw new SerinError('MODEL_NOT_READY', 'the routes have not been read yet');
    return undefined;
  }

  /** One model that does not load (it answers 503, with the reason) takes the others nowhere. */
  const isReady = (): boolean => watcher.hasRead && (table.entries.size > 0 || table.failures.length === 0);
  const app = createInferenceApp({
    logger,
    registry,
    readiness: () => ({
      ready: isReady(),
      checks: {
        routes: watcher.hasRead ? 'ok' : 'not read yet',
        ...Object.fromEntries(
          table.failures.map(({ model, epoch, reason }) => [model, `epoch ${epoch} is not taken over: ${reason}`]),
        ),
      },
    }),
  });
  app.addHook('preClose', async () => backpressure.release());
  const testers = createTesterAccess({ findPrincipal: (token) => findPrincipal(db, token), nowMs });
  registerPredictRoute(app, {
    entryOf,
    door: admission.doorFor({ costs: costs.predict, batcherOf, deadlineMsOf }),
    costs: costs.predict,
    submit: (work) => submit(work.model, work),
    nowMicros,
    store,
    testers,
    written: (model, seconds) => metrics.written(model, seconds),
  });
  registerModelRoutes(app, {
    entries: () => table.entries,
    failures: () => table.failures,
    circuitOf: (served) => circuits.of(served).state(nowMs()),
    listPredictions: (id) => listPredictions(db, id),
  });
  const repository = routedRepository({
    entryOf,
    entries: () => table.entries,
    failures: () => table.failures,
    byNumber: (model, version) => table.byNumber(model, version),
    costs: costs.infer,
    submit,
  });
  registerOpenApi(app, {
    server: () => ({ version: SERVER_VERSION, repository, entries: table.entries }),
    schemaOf(model) {
      const entry = entryOf(model);
      return entry && predictSchema(entry);
    },
  });
  createOipMetrics(registry, () => repository.models());
  const group = processGroup({
    statistics: () => repository.models().map(({ name, version, statistics }) => statistics.report(name, version)),
    manage: (action, model) => repository[action](model),
  });
  const oip: OipDeps = {
    repository,
    door: admission.doorFor({ costs: costs.infer, batcherOf, deadlineMsOf }),
    isReady,
    serverVersion: SERVER_VERSION,
    statistics: () => group.statistics(),
    manage: (action, model) => group.manage(action, model),
    // refused for everybody: see routedRepository
    authorizeOperator: () => undefined,
  };
  await registerOipRoutes(app, oip);

  await watcher.start();
  return {
    app,
    registry,
    oip,
    isReady,
    refreshRoutes: () => watcher.refresh(),
    flush: () => recorder.flush(),
    async close() {
      await app.close();
      group.close();
      await queues.whenIdle();
      await watcher.close();
      await recorder.close();
      await table.close();
      await loader.close();
      await database.close();
    },
  };
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
