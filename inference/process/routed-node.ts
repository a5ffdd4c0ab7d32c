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
import { CostBook } from '../admission/cost-book.ts';
import { startAdmission } from '../admission/start-admission.ts';
import { createInferenceApp } from '../http/inference-app.ts';
import { registerModelRoutes } from '../http/model-routes.ts';
import { registerPredictRoute } from '../http/predict-route.ts';
import { createTesterAccess } from '../http/tester-access.ts';
import { createInferenceMetrics, type InferenceMetrics } from '../metrics.ts';
import { createLoadMetrics, reportingLoads } from '../model/load-metrics.ts';
import { budgetBytes } from '../model/memory-budget.ts';
import { ModelLoader } from '../model/model-loader.ts';
import { createVersionSource, type VersionSourceDeps } from '../model/version-loader.ts';
import { createOipMetrics } from '../oip/oip-metrics.ts';
import { type OipDeps, registerOipRoutes } from '../oip/routes.ts';
import { registerOpenApi } from '../openapi/openapi-routes.ts';
import { predictSchema } from '../openapi/predict-schema.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import { RouteTable } from '../routing/route-table.ts';
import { RouteWatcher } from '../routing/route-watcher.ts';
import type { OnlineReader } from '../scoring/feature-batch.ts';
import type { Work } from '../scoring/predictor.ts';
import { processGroup } from './process-group.ts';
import { createScoringPipeline } from './scoring-pipeline.ts';
import { routedRepository } from './routed-repository.ts';
import { SERVER_VERSION, type ServingNode } from './serving-node.ts';

export interface RoutedNodeOptions {
  readonly config: Pick<Config, 'databaseUrl' | 'blobUrl' | 'nodeId' | 'inferenceHost' | 'inferencePort'> &
    Partial<Config>;
  readonly logger: Logger;
  readonly inputOf: VersionSourceDeps['inputOf'];
  readonly store: OnlineReader;
  readonly storeTimeoutMs?: number;
  /** Replaced in tests that need a model which fails. */
  readonly wrapSource?: (source: ReturnType<typeof createVersionSource>) => ReturnType<typeof createVersionSource>;
}

/** Longer than a batch may read features, wait for its shadow's turn and compute: on the event loop, and in a thread. */
const UNLOAD_AFTER_MS = { onLoop: 5_000, inThread: 30_000 } as const;
const DATABASE_CONNECTIONS = 3;

/** A serving process that routes by PostgreSQL: versions from the registry, features from the online store. */
export async function startRoutedNode({
  config,
  logger,
  inputOf,
  store,
  storeTimeoutMs,
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

  const { admission, onRefused, release } = startAdmission(registry, config, () => ({
    batchers: queues.all(),
    costs,
  }));
  const { queues, circuits } = createScoringPipeline({
    table,
    store,
    storeTimeoutMs,
    recorder,
    metrics,
    registry,
    logger,
    onRefused,
  });
  const batcherOf = (model: string) => queues.batcherOf(model);
  const costs = { predict: new CostBook(), infer: new CostBook() };
  const submit = (model: string, work: Work): void => batcherOf(model).submit(work);
  const deadlineMsOf = (model: string): number | null => table.find(model)?.contract.deadlineMs ?? null;
  const nowMs = (): number => performance.now();

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
  const testers = createTesterAccess({ findPrincipal: (token) => findPrincipal(db, token), nowMs });
  registerPredictRoute(app, {
    entryOf,
    door: admission.doorFor({ costs: costs.predict, batcherOf, deadlineMsOf }),
    costs: costs.predict,
    submit: (work) => submit(work.model, work),
    nowMicros,
    store,
    testers,
    written: (...answer) => metrics.written(...answer),
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
    release,
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
