import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '../../domain/errors.ts';
import { loadConfig } from '../../platform/config.ts';
import { obtainRedis, startRedis } from '../../platform/embedded/redis.ts';
import { createLogger } from '../../platform/logger.ts';

export interface TestRedis {
  readonly url: string;
  readonly pid: number;
  close(): Promise<void>;
}

/** A real Redis for the caller alone. Where there is none and none can be had: says so on a line, and null. */
export async function startTestRedis(): Promise<TestRedis | null> {
  const program = await obtainRedis({ config: loadConfig(), onProgress: (line) => console.error(line) }).catch(
    (error: unknown) => {
      console.error(`tests on Redis are skipped: ${messageOf(error)}`);
      return null;
    },
  );
  if (program === null) return null;
  const dir = await mkdtemp(join(tmpdir(), 'serin-test-redis-'));
  const logger = createLogger({ service: 'test', node: 'redis', level: 'warn' });
  const redis = await startRedis({ program, dir, logFile: join(dir, 'redis.log'), logger, disposable: true });
  return {
    url: redis.url,
    pid: redis.pid,
    async close() {
      await redis.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
