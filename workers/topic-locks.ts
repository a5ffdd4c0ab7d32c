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
  const held = new Set<string>();

  const connect = (): Promise<PoolClient> => {
    connection ??= pool.connect().then((client) => {
      client.once('error', () => {
        held.clear();
        connection = undefined;
        client.release(true);
      });
      return client;
    });
    return connection;
  };

  return {
    async acquire(topic) {
      if (held.has(topic)) return true;
      try {
        const client = await connect();
        const { rows } = await client.query<{ acquired: boolean }>(
          'select pg_try_advisory_lock($1, hashtext($2)) as acquired',
          [LOCK_CLASS, topic],
        );
        if (rows[0]?.acquired === true) held.add(topic);
        return held.has(topic);
      } catch (error) {
        if (held.size === 0) connection = undefined;
        throw error;
      }
    },
    close() {
      // a connection that goes back to the pool would keep its locks
      void connection?.then((client) => client.release(true)).catch(() => undefined);
      connection = undefined;
      held.clear();
    },
  };
}
