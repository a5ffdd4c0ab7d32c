/**
 * A consumer in a process of its own, to be killed: `node kafka-consumer-process.js <database URL> <blob folder> <settings>`.
 * It tells its parent `reading` when it runs.
 */
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { connectDatabase } from '../../db/database.ts';
import { openEventIndex } from '../../platform/event-index.ts';
import { FileBlobStore } from '../../platform/file-blob-store.ts';
import { parseKafkaSettings } from '../../platform/kafka-settings.ts';
import { startKafkaSource } from '../../workers/kafka-source.ts';

const [databaseUrl, blobFolder, settings] = process.argv.slice(2);
if (databaseUrl === undefined || blobFolder === undefined || settings === undefined) {
  throw new Error('usage: kafka-consumer-process.js DATABASE_URL BLOB_FOLDER SETTINGS');
}
const { db, pool } = connectDatabase(databaseUrl, { name: `kafka-${process.pid}`, max: 4 });
process.on('disconnect', () => process.exit(0));
startKafkaSource({
  db,
  pool,
  index: openEventIndex(new FileBlobStore(blobFolder)),
  settings: parseKafkaSettings(settings)!,
  logger: pino({ level: 'silent' }),
  registry: new Registry(),
  nodeId: String(process.pid),
  now: () => Date.now() * 1_000,
});
process.send?.('reading');
