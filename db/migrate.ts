import { type Kysely, sql } from 'kysely';
import { connectDatabase } from './database.ts';
import * as groundFloor from './migrations/0001-ground-floor.ts';
import * as features from './migrations/0002-features.ts';
import * as asyncPredictions from './migrations/0003-async-predictions.ts';
import * as predictionLog from './migrations/0004-prediction-log.ts';

/** In order, forward only. A migration that has been released is never edited: a change is a new one. */
const MIGRATIONS = [
  { name: '0001-ground-floor', up: groundFloor.up },
  { name: '0002-features', up: features.up },
  { name: '0003-async-predictions', up: asyncPredictions.up },
  { name: '0004-prediction-log', up: predictionLog.up },
] as const;

/** Any number; all processes of all versions must agree on it. */
const MIGRATION_LOCK = 7_361_001;

/**
 * Brings the schema up to date and returns the names it applied. Safe when several processes start at once: they queue
 * on an advisory lock, and each migration commits together with its row in `schema_migration`.
 */
export async function migrate(databaseUrl: string): Promise<string[]> {
  const database = connectDatabase(databaseUrl, { name: 'migrate', max: 1 });
  try {
    return await database.db.transaction().execute(async (tx) => {
      await sql`select pg_advisory_xact_lock(${MIGRATION_LOCK})`.execute(tx);
      await sql`create table if not exists schema_migration (name text primary key, applied_at timestamptz not null default now())`.execute(
        tx,
      );
      const done = await sql<{ name: string }>`select name from schema_migration`.execute(tx);
      const names = new Set(done.rows.map((row) => row.name));
      const applied: string[] = [];
      for (const migration of MIGRATIONS.filter(({ name }) => !names.has(name))) {
        // a migration speaks SQL to the schema of its day, not to today's table types
        await migration.up(tx as unknown as Kysely<unknown>);
        await sql`insert into schema_migration (name) values (${migration.name})`.execute(tx);
        applied.push(migration.name);
      }
      return applied;
    });
  } finally {
    await database.close();
  }
}
