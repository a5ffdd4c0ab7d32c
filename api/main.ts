import { connectDatabase } from '../db/database.ts';
import { loadConfig } from '../platform/config.ts';
import { openBlobStore } from '../platform/file-blob-store.ts';
import { createLogger } from '../platform/logger.ts';
import { createMetrics } from '../platform/metrics.ts';
import { createShutdown } from '../platform/shutdown.ts';
import { createApp } from './app.ts';
import { watchApplied } from './applied-watch.ts';
import { connectWorkflows } from './workflow-client.ts';

const config = loadConfig();
const logger = createLogger({ service: 'api', node: config.nodeId, level: config.logLevel });
const shutdown = createShutdown({ logger });

const database = connectDatabase(config.databaseUrl, { name: 'api', max: 10 });
shutdown.onClose('database', () => database.close());

const workflows = connectWorkflows({
  address: config.temporalAddress,
  namespace: config.temporalNamespace,
  identity: config.nodeId,
});
shutdown.onClose('temporal', () => workflows.close());

const applied = watchApplied(database.db, database.pool);
shutdown.onClose('applied watch', () => applied.close());

const app = await createApp({
  db: database.db,
  pool: database.pool,
  blobs: openBlobStore(config.blobUrl),
  workflows,
  applied,
  logger,
  registry: createMetrics({ service: 'api', node: config.nodeId }),
  config,
  now: () => Date.now() * 1_000,
});
const address = await app.listen({ host: config.apiHost, port: config.apiPort });
shutdown.onClose('http', () => app.close());
logger.info({ address }, 'api is ready');
