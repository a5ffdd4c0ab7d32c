import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '../../domain/errors.ts';
import { loadConfig } from '../../platform/config.ts';
import { removePostgresData, startPostgres } from '../../platform/embedded/postgres.ts';
import { obtainRedis, startRedis } from '../../platform/embedded/redis.ts';
import { createLogger } from '../../platform/logger.ts';
import { usageOfTree } from '../serving/process-usage.ts';

export interface Databases {
  readonly postgresUrl: string;
  /** Null: no Redis was asked for, or none can be had. */
  readonly redisUrl: string | null;
  /** That both have used so far. */
  cpuSeconds(): number;
  stop(): Promise<void>;
}

/** A PostgreSQL and, where asked for, a Redis of the caller's own. */
export async function startDatabases({ redis: wantsRedis = false } = {}): Promise<Databases> {
  const folder = await mkdtemp(join(tmpdir(), 'serin-bench-routed-'));
  const logger = createLogger({ service: 'bench', node: 'bench', level: 'error' });
  const postgresFolder = join(folder, 'postgres');
  const postgres = await startPostgres({ dir: postgresFolder, logFile: join(folder, 'postgres.log'), logger });
  const program = wantsRedis
    ? await obtainRedis({ config: loadConfig(), onProgress: (line) => console.error(line) }).catch((error: unknown) => {
        console.error(`left out, Redis: ${messageOf(error)}`);
        return null;
      })
    : null;
  const redis =
    program === null
      ? null
      : await startRedis({ program, dir: join(folder, 'redis'), logFile: join(folder, 'redis.log'), logger });
  return {
    postgresUrl: postgres.url,
    redisUrl: redis?.url ?? null,
    cpuSeconds: () =>
      [postgres, redis].reduce((sum, server) => sum + (server === null ? 0 : usageOfTree(server.pid).cpuSeconds), 0),
    async stop() {
      await Promise.all([redis?.stop(), postgres.stop()]);
      await removePostgresData(postgresFolder);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
