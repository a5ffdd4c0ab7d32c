import { createHash } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { Pool } from 'pg';
import type { Tables } from '../db/schema.ts';
import type { BlobStore } from '../domain/blob.ts';
import { canonicalJson } from '../domain/canonical-json.ts';
import type { Micros } from '../domain/time.ts';
import { DuckDb, type DuckDbSettings } from '../features/offline/duckdb.ts';
import type { OnlineStore } from '../features/online/online-store.ts';
import type { Config } from '../platform/config.ts';
import type { Logger } from '../platform/logger.ts';

/** What activities need of the world. Tests give their own. */
export interface Dependencies {
  readonly db: Kysely<Tables>;
  readonly pool: Pool;
  readonly blobs: BlobStore;
  readonly onlineStore: OnlineStore;
  readonly config: Pick<Config, 'workDir' | 'duckdbMemory' | 'duckdbThreads'> &
    Partial<Pick<Config, 'datasetThreads' | 'redactionKey' | 'inferenceUrl' | 'callbackTo'>>;
  readonly logger: Logger;
  readonly now: () => Micros;
}

export function sha256(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex');
}

/** How DuckDB is opened: within the configured limits, spilling into the work folder. */
export function duckdbSettings({ duckdbMemory, duckdbThreads, workDir }: Dependencies['config']): DuckDbSettings {
  return { memory: duckdbMemory, threads: duckdbThreads, tempDir: workDir };
}

/** How an activity uses DuckDB: a database of its own, closed whatever comes of the work. @param signal interrupts its statements */
export async function withDuckDb<T>(
  config: Dependencies['config'],
  work: (duckdb: DuckDb) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const duckdb = await DuckDb.open(duckdbSettings(config));
  const interrupt = (): void => duckdb.interrupt();
  signal?.addEventListener('abort', interrupt);
  try {
    return await work(duckdb);
  } finally {
    signal?.removeEventListener('abort', interrupt);
    duckdb.close();
  }
}
