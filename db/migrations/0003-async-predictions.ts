import { type Kysely, sql } from 'kysely';

/** Predictions that are asked for now and answered later. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table async_prediction (
      id text primary key,
      model text not null,
      principal text not null,
      -- what was asked; gone as soon as it is answered
      request jsonb,
      request_digest text not null,
      callback_url text,
      callback_secret text,
      keep_seconds int4 not null check (keep_seconds > 0),
      status text not null check (status in ('waiting', 'answered', 'failed')),
      -- what the inference tier said, or its problem
      answer jsonb,
      asked_at int8 not null,
      ended_at int8,
      delivered_at int8,
      -- why the last attempt to deliver it failed
      delivery_failure text,
      check ((status = 'waiting') = (ended_at is null)),
      check ((status = 'waiting') = (answer is null))
    );`.execute(db);
}
