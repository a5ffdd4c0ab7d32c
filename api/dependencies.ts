import type { Kysely } from 'kysely';
import type { Pool } from 'pg';
import type { Registry } from 'prom-client';
import type { Tables } from '../db/schema.ts';
import type { BlobStore } from '../domain/blob.ts';
import type { Micros } from '../domain/time.ts';
import type { Config } from '../platform/config.ts';
import type { Logger } from '../platform/logger.ts';
import type { AppliedWatch } from './applied-watch.ts';
import type { Workflows } from './workflow-client.ts';

/** What the control plane needs of the world. Tests give their own. */
export interface ApiDependencies {
  readonly db: Kysely<Tables>;
  readonly pool: Pool;
  readonly blobs: BlobStore;
  readonly workflows: Workflows;
  readonly applied: AppliedWatch;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly config: Pick<Config, 'temporalUiUrl' | 'temporalNamespace'>;
  readonly now: () => Micros;
}
