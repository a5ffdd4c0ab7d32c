import { type Kysely, sql } from 'kysely';

/** What the feature layer needs: corrections and deletions, partitions and compaction of the log, Kafka. Grouped by what it is for. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await ingestion(db);
  await onlineStore(db);
  await consistency(db);
  await forgetting(db);
  await materialization(db);
}

async function ingestion(db: Kysely<unknown>): Promise<void> {
  await sql`
    -- a compacted file holds rows of many batches
    alter table log_file alter column batch_id drop not null;
    -- whether the ids of its rows are in event_index
    alter table log_file add column indexed boolean not null default false;

    -- files that a compaction replaced: manifests of datasets name them, so their blobs stay
    create table retired_log_file (
      source text not null,
      sha256 text not null,
      file jsonb not null,
      retired_at int8 not null,
      primary key (source, sha256)
    );

    -- sorted files of the ids of all that is in a source's log; their union counts
    create table event_index (
      source text not null,
      sha256 text not null,
      file jsonb not null,
      primary key (source, sha256)
    );

    -- what a row does (0 event, 1 retract, 2 tombstone), and what makes it the same row again
    alter table event_buffer add column op int2 not null default 0 check (op between 0 and 2);
    alter table event_buffer add column version_id uuid;
    update event_buffer set version_id = event_id;
    alter table event_buffer alter column version_id set not null;
    drop index event_buffer_event;
    create unique index event_buffer_version on event_buffer (source, version_id);

    -- written in the transaction that takes the records in: a record is taken once, whoever dies when
    create table kafka_offset (
      topic text not null,
      partition int4 not null,
      -- a topic that was deleted and made anew has another one, and its records begin at 0 again
      topic_id text not null,
      source text not null,
      next_offset int8 not null,
      refused int8 not null default 0,
      updated_at int8 not null,
      primary key (topic, partition)
    );
    create table kafka_refused (
      topic text not null,
      partition int4 not null,
      record_offset int8 not null,
      source text not null,
      reasons jsonb not null,
      value text,
      refused_at int8 not null,
      primary key (topic, partition, record_offset)
    );
    create index kafka_refused_source on kafka_refused (source, refused_at);
  `.execute(db);
}

async function onlineStore(db: Kysely<unknown>): Promise<void> {
  await sql`
    -- rows lie in slots that a view's cursor points to: a shadow takes a view's place by an exchange of numbers.
    -- revision: what a write is made from, so that it is refused once another has come between
    create sequence online_slot as int4;
    alter table online_cursor
      alter column source drop not null,
      alter column applied_seq drop not null,
      alter column folded_at drop not null,
      add column revision int8 not null default 1,
      add column states_slot int4 not null default nextval('online_slot') unique deferrable,
      add column rows_slot int4 not null default nextval('online_slot') unique deferrable;
    update online_cursor set folded_at = null where folded_at = -9007199254740991;
    alter table online_state rename to online_state_by_view;
    alter table online_state_by_view rename constraint online_state_pkey to online_state_by_view_pkey;
    -- rewritten in place many times a second: room on each page keeps the updates HOT
    create table online_state (
      slot int4 not null,
      key bytea not null,
      state bytea not null,
      primary key (slot, key)
    ) with (fillfactor = 50);
    alter table online_state alter column state set storage external;
    insert into online_state (slot, key, state)
      select states_slot, key, state from online_state_by_view join online_cursor using (view_id);
    drop table online_state_by_view;

    -- how far the views of a source have read it, wherever the online store lies; a copy of its cursors that never runs
    -- ahead of them, so that the buffer is not trimmed before all views (and shadows being built) have what is in it
    create table view_progress (
      view_id text primary key,
      source text not null,
      applied_seq int8 not null,
      updated_at int8 not null
    );
    create index view_progress_source on view_progress (source);
    insert into view_progress select view_id, source, applied_seq, 0 from online_cursor;
    -- wall time, which clock_at need not be: pipeline delay is measured from it
    alter table event_buffer add column received_at int8 not null
      default (extract(epoch from clock_timestamp()) * 1000000)::int8;
    -- events up to here have left the buffer: a view that lies behind is built anew from the log
    alter table ingest_sequence add column trimmed_seq int8 not null default 0;
  `.execute(db);
}

async function consistency(db: Kysely<unknown>): Promise<void> {
  await sql`
    -- what a logged answer knew: per view the last ingest sequence in its features, and the instant at which they hold
    alter table prediction add column known_seq jsonb, add column read_at int8;
    -- up to here a view was built from the log, and when; what came later came into it by push alone
    alter table view_progress add column built_seq int8, add column built_at int8;
  `.execute(db);
}

async function forgetting(db: Kysely<unknown>): Promise<void> {
  await sql`
    -- the digests of forgotten keys are of no use without it: keys are easily guessed
    create table forget_salt ("only" boolean primary key default true check ("only"), salt text not null);
    insert into forget_salt (salt) values (replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));
    -- rows with these keys are not taken in again; only ever added to
    create table forgotten_key (
      source text not null,
      columns text[] not null,
      types text[] not null,
      digest text not null,
      request_id text not null,
      forgotten_at int8 not null,
      primary key (source, columns, digest)
    );
    -- key: until the last step; it is in no workflow's history
    create table forget_request (
      id text primary key,
      project text not null,
      entity text not null,
      key jsonb,
      key_digest text not null,
      reason text not null,
      actor text not null,
      requested_at int8 not null,
      finished_at int8,
      report jsonb,
      -- rows taken out so far, by place: counted in the transactions that take them out
      removed jsonb not null default '{}',
      check ((key is null) = (finished_at is not null))
    );
    -- written with the row that names another blob instead, so that a kill between the two leaves nothing behind
    create table forgotten_blob (
      sha256 text primary key,
      request_id text not null,
      removed_at int8
    );
    -- what a removal has made of the dataset; its manifest stays as it was
    alter table dataset add column redacted jsonb;
  `.execute(db);
}

async function materialization(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table view_progress
      -- of a shadow: at which of its revisions it was about to take its view's place; at another one, it has
      add column exchange_revision int8,
      -- how fresh the view is: its newest event, the pushers' clock less ours, and what the last batch took to be readable
      add column newest_event_at int8,
      add column clock_offset int8,
      add column delay_us int8;
  `.execute(db);
}
