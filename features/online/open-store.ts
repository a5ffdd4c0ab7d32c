/** The online store that a URL names: one way in for all that write it and all that read it. */
import pg from 'pg';
import { SerinError } from '../../domain/errors.ts';
import type { OnlineStore } from './online-store.ts';
import { prepareSchema } from './postgres-schema.ts';
import { CONNECTION } from './postgres-sql.ts';
import { PostgresOnlineStore } from './postgres-store.ts';
import { connectRedis } from './redis-connection.ts';
import { RedisOnlineStore } from './redis-store.ts';

export interface OpenStoreOptions {
  /** Of the connections, for those who look at the server. */
  readonly name: string;
  /** Most connections to PostgreSQL; Redis takes one. */
  readonly connections: number;
  /** A read that takes longer fails; null: waits. */
  readonly readTimeoutMs?: number | null;
}

export interface OpenStore {
  readonly store: OnlineStore;
  readonly close: () => Promise<void>;
}

/**
 * Opens lazily: a store that does not answer fails the commands, not this.
 *
 *   postgres://user:password@host:5432/database     the tables are made by `serin migrate`, or by `prepareStore` elsewhere
 *   redis[s]://user:password@host:6379/0?namespace=serin
 *
 * @throws CONFIG_INVALID for a URL of another kind
 */
export function openOnlineStore(url: string, options: OpenStoreOptions): OpenStore {
  const { name, connections, readTimeoutMs = null } = options;
  if (/^rediss?:/.test(url)) {
    const address = new URL(url);
    const namespace = address.searchParams.get('namespace') ?? 'serin';
    address.search = '';
    const timeout = readTimeoutMs === null ? {} : { connectTimeoutMs: readTimeoutMs };
    const connection = connectRedis({ url: address.href, name, ...timeout });
    return { store: new RedisOnlineStore({ connection, namespace }), close: () => connection.close() };
  }
  const pool = openPool(url, name, connections, readTimeoutMs);
  return { store: new PostgresOnlineStore({ pool, readTimeoutMs }), close: () => pool.end() };
}

/** Makes the tables of a store on a PostgreSQL of its own, where no migration runs; there and for Redis nothing else is to be done. */
export async function prepareStore(url: string): Promise<void> {
  if (/^rediss?:/.test(url)) return;
  const pool = openPool(url, 'serin-online-prepare', 1, null);
  try {
    await prepareSchema(pool);
  } finally {
    await pool.end();
  }
}

function openPool(url: string, name: string, connections: number, readTimeoutMs: number | null): pg.Pool {
  if (!/^postgres(ql)?:/.test(url)) {
    throw new SerinError(
      'CONFIG_INVALID',
      `an online store is at postgres://… or redis://…, not at '${url.split(':')[0]}:'`,
    );
  }
  const pool = new pg.Pool({
    connectionString: url,
    max: connections,
    application_name: name,
    keepAlive: true,
    // awaited by the pool, whatever its types say
    onConnect: ((client: pg.ClientBase) => client.query(CONNECTION)) as (client: pg.ClientBase) => void,
    ...(readTimeoutMs === null ? {} : { connectionTimeoutMillis: readTimeoutMs }),
  });
  // a connection that breaks while idle is replaced by the next query
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}
