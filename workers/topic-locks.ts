import type { Pool, PoolClient } from 'pg';

/** Any number: the first key of the advisory locks, so that they meet no others. */
const LOCK_CLASS = 7_361_002;

export interface TopicLocks {
  /** Whether this process has the topic, now or from now on. Another's is free when its process or its connection ends. */
  acquire(topic: string): Promise<boolean>;
  close(): void;
}

/**
 * Which process consumes which topic: session locks of PostgreSQL, all on one connection. They save double work; that a record
 * counts once does not rest on them (`takeIn`).
 */
export function createTopicLocks(pool: Pool): TopicLocks {
  let connection: Promise<PoolClient> | undefined;
  let connected: PoolClient | undefined;
  const held = new Set<string>();

  const connect = (): Promise<PoolClient> => {
    connection ??= pool.connect().then((client) => {
      connected = client;
      client.on('error', () => giveBack(client));
      return client;
    });
    return connection;
  };

  /** Once for a connection; what it held is free. */
  const giveBack = (client: PoolClient): void => {
    if (connected !== client) return;
    connected = undefined;
    connection = undefined;
    held.clear();
    client.release(true);
  };

  return {
    async acquire(topic) {
      if (held.has(topic)) return true;
      const connecting = connect();
      let client: PoolClient | undefined;
      try {
        client = await connecting;
        const { rows } = await client.query<{ acquired: boolean }>(
          'select pg_try_advisory_lock($1, hashtext($2)) as acquired',
          [LOCK_CLASS, topic],
        );
        if (rows[0]?.acquired === true) held.add(topic);
        return held.has(topic);
      } catch (error) {
        if (client === undefined) {
          if (connection === connecting) connection = undefined;
        } else if (held.size === 0) {
          // kept, each try would take another one of the pool
          giveBack(client);
        }
        throw error;
      }
    },
    close() {
      // a connection that goes back to the pool would keep its locks
      void connection?.then(giveBack, () => undefined);
      connection = undefined;
      held.clear();
    },
  };
}
