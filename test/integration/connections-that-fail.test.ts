import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { watchApplied } from '../../api/applied-watch.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { RouteWatcher, type RouteWatcherOptions } from '../../inference/routing/route-watcher.ts';
import { createLogger } from '../../platform/logger.ts';
import { listen } from '../../workers/listen.ts';
import { createTopicLocks } from '../../workers/topic-locks.ts';
import { createTestDatabase } from '../setup/test-database.ts';

const logger = createLogger({ service: 'test', node: 'test', level: 'silent' });
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const CONNECTIONS = 3;

let databaseUrl: string;
let database: Database;
let pool: pg.Pool;

beforeEach(async () => {
  databaseUrl = await createTestDatabase();
  database = connectDatabase(databaseUrl, { name: 'test', max: CONNECTIONS });
  ({ pool } = database);
});
afterEach(() => database.close());

/** The pool, whose connections take no LISTEN, as those of a standby do not. */
function withoutListen(): { pool: pg.Pool; connections: pg.PoolClient[] } {
  const connections: pg.PoolClient[] = [];
  const connect = async (): Promise<pg.PoolClient> => {
    const client = await pool.connect();
    connections.push(client);
    const query = client.query.bind(client) as (text: string) => Promise<unknown>;
    const refusing = (text: string) =>
      text.startsWith('listen') ? Promise.reject(new Error('cannot execute LISTEN during recovery')) : query(text);
    return Object.assign(client, { query: refusing });
  };
  return { pool: Object.create(pool, { connect: { value: connect } }) as pg.Pool, connections };
}

test('a worker that cannot listen leaves the connections of its pool to the others, however often it tries', async () => {
  const refusing = withoutListen();
  const listener = listen(refusing.pool, 'serin_events', () => undefined, logger, 1);
  await expect.poll(() => refusing.connections.length, { timeout: 30_000 }).toBeGreaterThan(CONNECTIONS);
  await listener.stop();
  expect(await pool.query('select 1').then(({ rowCount }) => rowCount)).toBe(1);
});

test('a listening connection that breaks, and says so twice, is replaced by one', async () => {
  let awakened = 0;
  const taken: pg.PoolClient[] = [];
  pool.on('acquire', (client) => taken.push(client));
  const listener = listen(pool, 'serin_events', () => awakened++, logger, 1);
  await expect.poll(() => awakened, { timeout: 30_000 }).toBe(1);
  for (const _ of [1, 2]) taken[0]!.emit('error', new Error('terminated'));
  await expect.poll(() => awakened, { timeout: 30_000 }).toBe(2);
  expect(taken).toHaveLength(2);
  await listener.stop();
});

test('who waits for an event is answered where nobody can listen, and the connection goes back', async () => {
  const refusing = withoutListen();
  const watch = watchApplied(database.db, refusing.pool);
  // no online view reads it: there is nothing to wait for
  for (let i = 0; i <= CONNECTIONS; i++) expect(await watch.waitFor('nothing', 1, 10)).toBe(true);
  for (const client of refusing.connections) client.emit('error', new Error('terminated'));
  await watch.close();
  expect(pool.totalCount - pool.idleCount).toBe(0);
});

test('a lock that cannot be asked for keeps no connection', async () => {
  const locks = createTopicLocks(pool);
  for (let i = 0; i <= CONNECTIONS; i++) await expect(locks.acquire('a\0topic')).rejects.toThrow('invalid byte');
  expect(await locks.acquire('a topic')).toBe(true);
  locks.close();
  // the lock went with its connection
  await expect
    .poll(async () => {
      const others = createTopicLocks(pool);
      const free = await others.acquire('a topic');
      others.close();
      return free;
    })
    .toBe(true);
});

test('a database that takes questions and does not answer is asked for the lease once at a time', async () => {
  const table = { entries: new Map(), failures: [], apply: () => Promise.resolve() };
  const metrics = { epoch: () => undefined, routesRead: () => undefined, routeFailure: () => undefined };
  const watcher = new RouteWatcher({
    db: database.db,
    databaseUrl,
    node: { nodeId: 'n', address: 'a', startedAt: 1 },
    table: table as unknown as RouteWatcherOptions['table'],
    metrics,
    logger,
    pollMs: 60_000,
    heartbeatMs: 1,
  });
  await watcher.start();
  const holder = new pg.Client({ connectionString: databaseUrl });
  await holder.connect();
  try {
    await holder.query('begin');
    await holder.query('lock table inference_node in access exclusive mode');
    await after(500);
    expect(pool.waitingCount).toBe(0);
  } finally {
    await holder.end();
    await watcher.close();
  }
});
