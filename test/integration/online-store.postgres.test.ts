import pg from 'pg';
import { describe, expect, inject, test } from 'vitest';
import { openOnlineStore, prepareStore } from '../../features/online/open-store.ts';
import { createDatabase, createTestDatabase } from '../setup/test-database.ts';
import { describeOnlineStore } from './online-store-suite.ts';

describe('the PostgreSQL store', () => {
  describeOnlineStore(async () => {
    const url = await createTestDatabase();
    const pool = new pg.Pool({ connectionString: url, max: 1 });
    const opened = openOnlineStore(url, { name: 'under-test', connections: 4 });
    const others: { close(): Promise<void> }[] = [];
    return {
      store: opened.store,
      async another() {
        const other = openOnlineStore(url, { name: 'another', connections: 2 });
        others.push(other);
        return other.store;
      },
      async clear() {
        await pool.query('truncate online_state, online_cursor');
      },
      async breakConnections() {
        await pool.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'under-test'",
        );
      },
      async close() {
        await Promise.all([opened.close(), pool.end(), ...others.map((other) => other.close())]);
      },
    };
  });
});

test('a database of its own gets the tables that the migrations make', async () => {
  const alone = await createDatabase(inject('services').databaseUrl, `online_${process.pid}`);
  await Promise.all([prepareStore(alone), prepareStore(alone)]);
  const [made, migrated] = await Promise.all([alone, await createTestDatabase()].map(columnsOf));
  expect(made).toEqual(migrated);
  expect(made!.length).toBeGreaterThan(8);
});

async function columnsOf(url: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query(
    `select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns
     where table_name in ('online_state', 'online_cursor') order by 1, 2`,
  );
  const constraints = await client.query(
    `select conrelid::regclass::text as on_table, pg_get_constraintdef(oid) as definition from pg_constraint
     where conrelid in ('online_state'::regclass, 'online_cursor'::regclass) and contype <> 'n' order by 1, 2`,
  );
  await client.end();
  return [...rows, ...constraints.rows];
}

test('a store that does not answer is a retryable error', async () => {
  const nowhere = openOnlineStore('postgres://localhost:1/none', { name: 'none', connections: 1, readTimeoutMs: 500 });
  const refused = nowhere.store.read([{ viewId: 'delays@1', key: Buffer.from('x') }]);
  await expect(refused).rejects.toMatchObject({ code: 'ONLINE_STORE_UNAVAILABLE', retryable: true });
  await nowhere.close();
});
