import { openOnlineStore } from '../../features/online/open-store.ts';
import { compileFeatureReader, type FeatureReader } from '../../features/reader/feature-reader.ts';
import type { RoutedNodeOptions } from './routed-node.ts';

/** One batch is read at a time; a second connection takes over while a broken one is replaced. */
const STORE_CONNECTIONS = 2;
const READ_TIMEOUT_MS = 500;
const MAX_READERS = 256;

export interface Features extends Required<Pick<RoutedNodeOptions, 'inputOf' | 'store' | 'storeTimeoutMs'>> {
  /**
   * Makes the connection, so that the first answers need not: on a busy machine it takes longer than a read may. A store that does
   * not answer fails the reads, not this.
   */
  connect(): Promise<void>;
  close(): Promise<void>;
}

/** The online store and the readers of feature sets; versions of one project share a reader, and with it the check of a request. */
export function openFeatures(onlineStoreUrl: string, readTimeoutMs = READ_TIMEOUT_MS): Features {
  const { store, close } = openOnlineStore(onlineStoreUrl, {
    name: 'serin-inference-features',
    connections: STORE_CONNECTIONS,
    readTimeoutMs,
  });
  const readers = new Map<string, FeatureReader>();
  return {
    store,
    storeTimeoutMs: readTimeoutMs,
    inputOf(project, featureSet) {
      const key = `${project.digest} ${featureSet}`;
      const known = readers.get(key);
      if (known) return known;
      const reader = compileFeatureReader(project.spec, featureSet);
      if (readers.size >= MAX_READERS) readers.clear();
      readers.set(key, reader);
      return reader;
    },
    async connect() {
      await store.cursors(['']).catch(() => undefined);
    },
    close,
  };
}
