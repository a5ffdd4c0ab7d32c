import type { Pool, PoolClient } from 'pg';
import type { Logger } from '../platform/logger.ts';

const RETRY_MS = 1_000;

/** A connection of its own for LISTEN, made anew when it breaks; whoever is woken looks by themselves now and then. */
export function listen(
  pool: Pool,
  channel: string,
  awaken: () => void,
  logger: Logger,
  retryMs = RETRY_MS,
): { stop(): Promise<void> } {
  let stopped = false;
  let client: PoolClient | undefined;
  let retry: NodeJS.Timeout | undefined;
  let connecting = connect();

  async function connect(): Promise<void> {
    let connected: PoolClient | undefined;
    try {
      connected = await pool.connect();
      client = connected;
      connected.on('notification', awaken);
      connected.on('error', (error) => lose(connected!, error));
      await connected.query(`listen ${channel}`);
      // what was announced before
      awaken();
    } catch (error) {
      if (connected === undefined) tryAgain(error);
      else lose(connected, error);
    }
  }

  /**
   * Once for a connection: a broken one says so by an event or two, and fails what was asked on it. One that cannot listen (a
   * standby) goes back as well; kept, each try would take another one, until the pool has none for anybody.
   */
  function lose(connected: PoolClient, error: unknown): void {
    if (client !== connected) return;
    client = undefined;
    connected.release(true);
    tryAgain(error);
  }

  function tryAgain(error: unknown): void {
    if (stopped) return;
    logger.debug({ err: error, channel }, 'cannot listen for announcements; polling');
    retry = setTimeout(() => {
      connecting = connect();
    }, retryMs);
  }

  return {
    async stop() {
      stopped = true;
      clearTimeout(retry);
      await connecting;
      const last = client;
      client = undefined;
      last?.release(true);
    },
  };
}
