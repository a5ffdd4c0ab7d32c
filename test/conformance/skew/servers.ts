/** Real servers for a run: a PostgreSQL and a Redis of its own, gone with it. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepareStore } from '../../../features/online/open-store.ts';
import { loadConfig } from '../../../platform/config.ts';
import { removePostgresData, startPostgres } from '../../../platform/embedded/postgres.ts';
import { obtainRedis, startRedis } from '../../../platform/embedded/redis.ts';
import { createLogger } from '../../../platform/logger.ts';

export const STORE_KINDS = ['postgres', 'redis'] as const;
export type StoreKind = (typeof STORE_KINDS)[number];

export interface Servers {
  readonly urls: ReadonlyMap<StoreKind, string>;
  /** For files of the run. */
  readonly dir: string;
  stop(): Promise<void>;
}

export async function startServers(kinds: readonly StoreKind[]): Promise<Servers> {
  const dir = await mkdtemp(join(tmpdir(), 'serin-skew-'));
  await chmod(dir, 0o755); // PostgreSQL may run as another user
  const logger = createLogger({ service: 'skew', node: 'servers', level: 'silent' });
  const stops: (() => Promise<void>)[] = [
    async () => {
      await removePostgresData(join(dir, 'postgres'));
      await rm(dir, { recursive: true, force: true });
    },
  ];
  const stop = async (): Promise<void> => {
    for (const each of stops.toReversed()) await each();
  };
  const urls = new Map<StoreKind, string>();
  try {
    if (kinds.includes('postgres')) {
      const postgres = await startPostgres({
        dir: join(dir, 'postgres'),
        logFile: join(dir, 'postgres.log'),
        logger,
        disposable: true,
      });
      stops.push(() => postgres.stop());
      await prepareStore(postgres.url);
      urls.set('postgres', postgres.url);
    }
    if (kinds.includes('redis')) {
      const program = await obtainRedis({ config: loadConfig(), onProgress: (line) => console.error(line) });
      const redis = await startRedis({
        program,
        dir: join(dir, 'redis'),
        logFile: join(dir, 'redis.log'),
        logger,
        disposable: true,
      });
      stops.push(() => redis.stop());
      urls.set('redis', redis.url);
    }
    return { urls, dir, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
