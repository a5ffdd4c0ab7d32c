import { type Kysely, sql } from 'kysely';

/** What an answer is explained by, how personal data is kept out of it, and where answers go that are older than the table keeps. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    -- why the arm's own version did not answer, as a word (deadline, circuit, …); the sentence is in error
    alter table prediction add column reason text;
    -- of each feature, why it has its value (a position in FEATURE_STATUSES); null: from before it was kept
    alter table prediction add column statuses int2[];
    -- on the rung fallback, the other model whose version answered
    alter table prediction add column served_model text;
    -- what was replaced by a token (request.x, unit) or left out (features.x) because it is personal
    alter table prediction add column redacted text[];
    -- the W3C trace that the request belonged to
    alter table prediction add column trace_id text;

    -- the key of an installation that configures none; rows beside it are pseudonymous, not anonymous
    create table redaction_key ("only" boolean primary key default true check ("only"), key text not null);
    insert into redaction_key (key) values (replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));

    -- answers recorded before exported_to (by the database's clock) lie in Parquet, those before dropped_to there alone
    create table prediction_export (
      model text primary key references model,
      exported_to int8 not null,
      dropped_to int8 not null default 0,
      check (dropped_to <= exported_to)
    );
    -- one file for each range and UTC day of answering; ranges of a model follow on one another
    create table prediction_part (
      model text not null references model,
      from_at int8 not null,
      to_at int8 not null,
      day text not null,
      rows int8 not null,
      first_id text collate "C" not null,
      last_id text collate "C" not null,
      file jsonb not null,
      exported_at int8 not null,
      primary key (model, from_at, day),
      check (from_at < to_at)
    );
    create index prediction_part_ids on prediction_part (first_id, last_id);
  `.execute(db);
}
