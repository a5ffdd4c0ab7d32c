import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { applyProject } from '../../db/apply-project.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import type { ProjectSpec } from '../../domain/project/spec.ts';
import { type Features, openFeatures } from '../../inference/process/open-features.ts';
import { startRoutedNode } from '../../inference/process/routed-node.ts';
import type { ServingNode } from '../../inference/process/serving-node.ts';
import type { Config } from '../../platform/config.ts';
import type { Logger } from '../../platform/logger.ts';
import { createTestDatabase } from './test-database.ts';

/** A machine that stands still for the half second of production must not make an answer one without features. */
export const STORE_PATIENCE_MS = 20_000;

export interface ServedProject {
  /** The blobs, and whatever a test puts there. */
  readonly folder: string;
  readonly database: Database;
  readonly digest: string;
  readonly features: Features;
  readonly node: ServingNode;
  close(): Promise<void>;
}

export interface ServedProjectOptions {
  readonly spec: ProjectSpec;
  readonly logger: Logger;
  readonly at?: number;
  readonly config?: Partial<Config>;
}

/** A project in a database of its own, and a real node that serves it; it listens nowhere yet. */
export async function serveProject({
  spec,
  logger,
  at = 1,
  config = {},
}: ServedProjectOptions): Promise<ServedProject> {
  const folder = await mkdtemp(join(tmpdir(), 'serin-served-'));
  const databaseUrl = await createTestDatabase();
  const database = connectDatabase(databaseUrl, { name: 'test', max: 4 });
  const { digest } = await applyProject(database.db, { spec, bundleSha256: null, by: 'test', at });
  const features = openFeatures(databaseUrl, STORE_PATIENCE_MS);
  const node = await startRoutedNode({
    config: {
      databaseUrl,
      blobUrl: pathToFileURL(folder).href,
      nodeId: 'node-1',
      inferenceHost: '127.0.0.1',
      inferencePort: 0,
      ...config,
    },
    logger,
    inputOf: features.inputOf,
    store: features.store,
    storeTimeoutMs: features.storeTimeoutMs,
  });
  return {
    folder,
    database,
    digest,
    features,
    node,
    async close() {
      await node.close();
      await features.close();
      await database.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
