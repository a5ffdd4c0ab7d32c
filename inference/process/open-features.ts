import pg from 'pg';
import type { ProjectSpec } from '../../domain/project/spec.ts';
import { createPostgresStore } from '../../features/online/postgres-store.ts';
import { compileFeatureReader, type FeatureReader } from '../../features/reader/feature-reader.ts';
import type { RoutedNodeOptions } from './routed-node.ts';

/** One batch is read at a time; a second connection takes over while a broken one is replaced. */
const STORE_CONNECTIONS = 2;
const READ_TIMEOUT_MS = 500;

export interface Features extends Pick<RoutedNodeOptions, 'inputOf' | 'store'> {
  close(): Promise<void>;
}

/** The online store and the readers of feature sets; versions of one project share a reader, and so a check of each request. */
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
  const readers = new WeakMap<ProjectSpec, Map<string, FeatureReader>>();
  return {
    store: createPostgresStore(pool, { readTimeoutMs: READ_TIMEOUT_MS }),
    inputOf(spec, featureSet) {
      const known = readers.get(spec)?.get(featureSet);
      if (known) return known;
      const reader = compileFeatureReader(spec, featureSet);
      readers.set(spec, (readers.get(spec) ?? new Map<string, FeatureReader>()).set(featureSet, reader));
      return reader;
    },
    close: () => pool.end(),
  };
}
