import type { Pool, PoolClient } from 'pg';
import type { Logger } from '../platform/logger.ts';

const RETRY_MS = 1_000;

/** A connection of its own for LISTEN, made anew when it breaks; whoever is woken looks by themselves now and then. */
export function listen(pool: Pool, channel: string, awaken: () => void, logger: Logger): { stop(): Promise<void> } {
  let stopped = false;
  let client: PoolClient | undefined;
  let retry: NodeJS.Timeout | undefined;
  const connect = async (): Promise<void> => {
    if (stopped) return;
    try {
      const connected = await pool.connect();
      client = connected;
      connected.on('notification', awaken);
      connected.on('error', () => {
        connected.release(true);
        client = undefined;
        retry = setTimeout(() => void connect(), RETRY_MS);
      });
      await connected.query(`listen ${channel}`);
      // what was announced before
      awaken();
    } catch (error) {
      logger.debug({ err: error, channel }, 'cannot listen for announcements; polling');
      retry = setTimeout(() => void connect(), RETRY_MS);
    }
  };
  const connecting = connect();
  return {
    async stop() {
      stopped = true;
      clearTimeout(retry);
      await connecting;
      client?.release(true);
    },
  };
}
