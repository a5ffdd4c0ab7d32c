import pg from 'pg';
import { createPostgresStore } from '../../features/online/postgres-store.ts';
import { compileFeatureReader, type FeatureReader } from '../../features/reader/feature-reader.ts';
import type { RoutedNodeOptions } from './routed-node.ts';

/** One batch is read at a time; a second connection takes over while a broken one is replaced. */
const STORE_CONNECTIONS = 2;
const READ_TIMEOUT_MS = 500;
const MAX_READERS = 256;

export interface Features extends Pick<RoutedNodeOptions, 'inputOf' | 'store'> {
  close(): Promise<void>;
}

/** The online store and the readers of feature sets; versions of one project share a reader, and with it the check of a request. */
export function openFeatures(onlineStoreUrl: string): Features {
  const pool = new pg.Pool({
    connectionString: onlineStoreUrl,
    max: STORE_CONNECTIONS,
    application_name: 'serin-inference-features',
    keepAlive: true,
    connectionTimeoutMillis: READ_TIMEOUT_MS,
  });
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  const readers = new Map<string, FeatureReader>();
  return {
    store: createPostgresStore(pool, { readTimeoutMs: READ_TIMEOUT_MS }),
    inputOf(project, featureSet) {
      const key = `${project.digest} ${featureSet}`;
      const known = readers.get(key);
      if (known) return known;
      const reader = compileFeatureReader(project.spec, featureSet);
      if (readers.size >= MAX_READERS) readers.clear();
      readers.set(key, reader);
      return reader;
    },
    close: () => pool.end(),
  };
}
