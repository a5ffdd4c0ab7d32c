import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';

/** A database of the caller's own with the current schema: a clone of the template that was migrated once for the run. */
export async function createTestDatabase(): Promise<string> {
  const { databaseUrl, templateDatabase } = inject('services');
  return createDatabase(databaseUrl, `test_${randomUUID().replaceAll('-', '')}`, templateDatabase);
}

/** @returns the connection string of the new database */
export async function createDatabase(databaseUrl: string, name: string, template = 'template1'): Promise<string> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(
      `create database ${client.escapeIdentifier(name)} template ${client.escapeIdentifier(template)}`,
    );
  } finally {
    await client.end();
  }
  const url = new URL(databaseUrl);
  url.pathname = `/${name}`;
  return url.href;
}
