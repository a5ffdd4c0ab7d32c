/** The tables of the PostgreSQL store where it has a database of its own; Serin's own database gets them from `db/migrations`. */
import type { Pool } from 'pg';

const SCHEMA = `
  create sequence if not exists online_slot as int4;
  create table if not exists online_cursor (
    view_id text primary key,
    source text,
    applied_seq int8,
    folded_at int8,
    revision int8 not null default 1,
    states_slot int4 not null default nextval('online_slot') unique deferrable,
    rows_slot int4 not null default nextval('online_slot') unique deferrable
  );
  create table if not exists online_state (
    slot int4 not null,
    key bytea not null,
    state bytea not null,
    primary key (slot, key)
  ) with (fillfactor = 50);
  alter table online_state alter column state set storage external;`;

/** Any number; two that start at once queue here. */
const SCHEMA_LOCK = 7_361_002;

export async function prepareSchema(pool: Pool): Promise<void> {
  await pool.query(`begin; select pg_advisory_xact_lock(${SCHEMA_LOCK}); ${SCHEMA} commit`);
}
