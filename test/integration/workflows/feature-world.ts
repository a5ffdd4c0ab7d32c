import { join } from 'node:path';
import { pino } from 'pino';
import { createActivities, type Activities } from '../../../activities/activities.ts';
import { connectDatabase, type Database } from '../../../db/database.ts';
import type { OnlineStore } from '../../../features/online/online-store.ts';
import { createPostgresStore } from '../../../features/online/postgres-store.ts';
import { FileBlobStore } from '../../../platform/file-blob-store.ts';

export interface FeatureWorld {
  readonly database: Database;
  readonly blobs: FileBlobStore;
  readonly store: OnlineStore;
  readonly activities: Activities;
}

/** The real activities over a database and a folder; several processes may share both. */
export function openFeatureWorld(databaseUrl: string, dir: string, store?: OnlineStore): FeatureWorld {
  const database = connectDatabase(databaseUrl, { name: 'features-test', max: 6 });
  const blobs = new FileBlobStore(join(dir, 'blobs'));
  const onlineStore = store ?? createPostgresStore(database.pool);
  const activities = createActivities({
    db: database.db,
    pool: database.pool,
    blobs,
    onlineStore,
    config: { workDir: dir, duckdbMemory: '500MB', duckdbThreads: 1 },
    logger: pino({ level: 'silent' }),
    now: () => Date.now() * 1_000,
  });
  return { database, blobs, store: onlineStore, activities };
}
