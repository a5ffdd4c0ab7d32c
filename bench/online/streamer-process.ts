/** The worker's streamer in a process of its own, to be measured and killed. Says `ready` to its parent. */
import { connectDatabase } from '../../db/database.ts';
import { openOnlineStore } from '../../features/online/open-store.ts';
import { loadConfig } from '../../platform/config.ts';
import { createLogger } from '../../platform/logger.ts';
import { createMetrics } from '../../platform/metrics.ts';
import { startStreamer } from '../../workers/streamer.ts';

const config = loadConfig();
const logger = createLogger({ service: 'streamer', node: config.nodeId, level: config.logLevel });
const database = connectDatabase(config.databaseUrl, { name: 'streamer', max: 6 });
const online = openOnlineStore(config.onlineStoreUrl, { name: 'streamer-features', connections: 6 });
const streamer = startStreamer({
  db: database.db,
  pool: database.pool,
  store: online.store,
  logger,
  registry: createMetrics({ service: 'worker', node: config.nodeId }),
  now: () => Date.now() * 1_000,
});
process.send?.('ready');

async function stop(): Promise<void> {
  await streamer.stop();
  await online.close();
  await database.close();
  process.exit();
}
process.once('SIGTERM', () => void stop());
// the parent is gone
process.once('disconnect', () => void stop());
