/** The paths with what they need: a database, a server of their own. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openOnlineStore, prepareStore } from '../../../../features/online/open-store.ts';
import { loadConfig } from '../../../../platform/config.ts';
import { removePostgresData, startPostgres } from '../../../../platform/embedded/postgres.ts';
import { obtainRedis, startRedis } from '../../../../platform/embedded/redis.ts';
import { createLogger } from '../../../../platform/logger.ts';
import type { Path, PathName } from '../answer.ts';
import { openDuckDbPath } from './duckdb.ts';
import { kernelPath } from './kernel.ts';
import { onlinePath } from './online.ts';

const CONNECTIONS = 4;

/** @throws SerinError PREREQUISITE_MISSING where there is no redis-server, and none can be had */
export async function openPath(name: PathName): Promise<Path> {
  switch (name) {
    case 'kernel':
      return kernelPath();
    case 'duckdb':
      return openDuckDbPath();
    case 'postgres':
      return openWithServer(name, async (dir) => {
        const server = await startPostgres({ ...placesIn(dir), disposable: true });
        return {
          url: server.url,
          async stop() {
            await server.stop();
            await removePostgresData(join(dir, 'data'));
          },
        };
      });
    case 'redis':
      return openWithServer(name, async (dir) => {
        const program = await obtainRedis({ config: loadConfig(), onProgress: (line) => console.error(line) });
        return startRedis({ program, ...placesIn(dir), disposable: true });
      });
  }
}

/** The path over a store that runs already. */
export async function openStorePath(name: 'postgres' | 'redis', url: string): Promise<Path> {
  await prepareStore(url);
  const { store, close } = openOnlineStore(url, { name: 'conformance-pit', connections: CONNECTIONS });
  return onlinePath(name, store, close);
}

async function openWithServer(
  name: 'postgres' | 'redis',
  start: (dir: string) => Promise<{ readonly url: string; stop(): Promise<void> }>,
): Promise<Path> {
  const dir = await mkdtemp(join(tmpdir(), `serin-pit-${name}-`));
  await chmod(dir, 0o755); // PostgreSQL may run as another user
  const server = await start(dir);
  const path = await openStorePath(name, server.url);
  return {
    ...path,
    async close() {
      await path.close();
      await server.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function placesIn(dir: string) {
  const logger = createLogger({ service: 'conformance', node: 'pit', level: 'warn' });
  return { dir: join(dir, 'data'), logFile: join(dir, 'server.log'), logger };
}
