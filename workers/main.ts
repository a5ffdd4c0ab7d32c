import { mkdir } from 'node:fs/promises';
import { createActivities } from '../activities/activities.ts';
import { connectDatabase } from '../db/database.ts';
import { openOnlineStore, prepareStore } from '../features/online/open-store.ts';
import { loadConfig } from '../platform/config.ts';
import { openEventIndex } from '../platform/event-index.ts';
import { openBlobStore } from '../platform/file-blob-store.ts';
import { createHttpServer } from '../platform/http-server.ts';
import { createLogger } from '../platform/logger.ts';
import { createMetrics } from '../platform/metrics.ts';
import { createShutdown } from '../platform/shutdown.ts';
import { startFreshnessWatch } from './freshness-watch.ts';
import { startStreamer } from './streamer.ts';
import { startTemporalWorkers } from './temporal-workers.ts';

const config = loadConfig();
const logger = createLogger({ service: 'worker', node: config.nodeId, level: config.logLevel });
const shutdown = createShutdown({ logger });
const registry = createMetrics({ service: 'worker', node: config.nodeId });

const database = connectDatabase(config.databaseUrl, { name: 'worker', max: 20 });
shutdown.onClose('database', () => database.close());
await mkdir(config.workDir, { recursive: true });

if (config.onlineStoreUrl !== config.databaseUrl) await prepareStore(config.onlineStoreUrl);
const online = openOnlineStore(config.onlineStoreUrl, { name: 'serin-worker-features', connections: 8 });
shutdown.onClose('online store', () => online.close());

const activities = createActivities({
  db: database.db,
  pool: database.pool,
  blobs: openBlobStore(config.blobUrl),
  onlineStore: online.store,
  config,
  logger,
  now: () => Date.now() * 1_000,
});
const workers = await startTemporalWorkers({ config, activities, logger });
shutdown.onClose('workers', () => workers.shutdown());

if (config.workerQueues.includes('serin-data')) {
  const streamer = startStreamer({
    db: database.db,
    pool: database.pool,
    store: online.store,
    logger,
    registry,
    now: () => Date.now() * 1_000,
  });
  shutdown.onClose('streamer', () => streamer.stop());
  const watch = startFreshnessWatch({ db: database.db, logger, now: () => Date.now() * 1_000 });
  shutdown.onClose('freshness watch', () => watch.stop());
  if (config.kafkaSettings !== null) {
    // Kafka's client is loaded where it is used
    const { startKafkaSource } = await import('./kafka-source.ts');
    const kafka = startKafkaSource({
      db: database.db,
      pool: database.pool,
      index: openEventIndex(openBlobStore(config.blobUrl)),
      settings: config.kafkaSettings,
      logger,
      registry,
      nodeId: config.nodeId,
      now: () => Date.now() * 1_000,
    });
    shutdown.onClose('kafka', () => kafka.stop());
  }
}

const server = createHttpServer({ logger, registry, readiness: () => ({ ready: true, checks: { temporal: 'ok' } }) });
await server.listen({ host: config.metricsHost, port: config.metricsPort });
shutdown.onClose('metrics', () => server.close());
logger.info({ queues: config.workerQueues }, 'worker is ready');

workers.running.catch((error: unknown) => {
  logger.fatal({ err: error }, 'a worker failed');
  void shutdown.start('a worker failed');
});
