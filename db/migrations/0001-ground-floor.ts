import { type Kysely, sql } from 'kysely';

/**
 * The ground floor. Instants are int8 microseconds. What is immutable says so: `decision` refuses UPDATE and DELETE.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table project (
      name text primary key,
      digest text not null,
      updated_at int8 not null
    );
    create table project_version (
      project text not null,
      digest text not null,
      spec jsonb not null,
      bundle_sha256 text,
      applied_by text not null,
      applied_at int8 not null,
      primary key (project, digest)
    );

    create table api_token (
      token_sha256 text primary key,
      principal text not null,
      roles text[] not null check (roles <@ array['viewer', 'engineer', 'approver', 'operator', 'admin']),
      created_at int8 not null,
      revoked_at int8
    );

    -- one row per source: taking its lock is what makes ingest_seq the order of commits
    create table ingest_sequence (
      source text primary key,
      next_seq int8 not null default 1
    );
    create table ingest_batch (
      source text not null,
      batch_id text not null,
      input_sha256 text not null,
      first_seq int8 not null,
      last_seq int8 not null,
      rows_in int8 not null,
      rows_accepted int8 not null,
      quarantined jsonb not null,
      quarantine_sha256 text,
      ingested_at int8 not null,
      primary key (source, batch_id)
    );
    create table log_file (
      source text not null,
      first_seq int8 not null,
      last_seq int8 not null,
      batch_id text not null,
      file jsonb not null,
      primary key (source, first_seq),
      foreign key (source, batch_id) references ingest_batch
    );
    create table event_buffer (
      source text not null,
      seq int8 not null,
      event_id uuid not null,
      event_at int8 not null,
      available_at int8 not null,
      clock_at int8 not null,
      row jsonb not null,
      -- written to the log, too; it stays here until every online view has read it
      logged boolean not null default false,
      primary key (source, seq)
    );
    create unique index event_buffer_event on event_buffer (source, event_id);

    create table online_cursor (
      view_id text primary key,
      source text not null,
      applied_seq int8 not null,
      folded_at int8 not null
    );
    -- rewritten in place many times a second: room on each page keeps the updates HOT
    create table online_state (
      view_id text not null,
      key bytea not null,
      state bytea not null,
      folded_at int8 not null,
      primary key (view_id, key)
    ) with (fillfactor = 50);
    alter table online_state alter column state set storage external;

    create table dataset (
      digest text primary key,
      project text not null,
      model text not null,
      feature_set text not null,
      manifest jsonb not null,
      rows int8 not null,
      created_at int8 not null
    );

    create table run (
      run_id text primary key,
      project text not null,
      model text not null,
      training text not null,
      status text not null check (status in ('running', 'gated', 'registered', 'failed')),
      author text not null,
      dataset text references dataset,
      seed int8 not null,
      params jsonb not null,
      result jsonb,
      gate_report jsonb,
      -- the version number it takes up, whether its gates let it become that version or not
      number int not null,
      version int,
      failure text,
      started_at int8 not null,
      ended_at int8
    );
    create index run_model on run (model, started_at);
    create table run_metric (
      run_id text not null references run,
      name text not null,
      step int not null,
      value float8 not null,
      primary key (run_id, name, step)
    );

    create table model (
      name text primary key,
      project text not null,
      project_digest text not null,
      next_version int not null default 1
    );
    create table model_version (
      model text not null references model,
      version int not null check (version >= 0),
      kind text not null check (kind in ('rule', 'onnx')),
      manifest jsonb not null,
      manifest_sha256 text not null,
      stage text not null check (stage in ('staging', 'candidate', 'production', 'archived')),
      stage_epoch int not null default 0,
      stage_reason text not null,
      author text not null,
      run_id text,
      registered_at int8 not null,
      primary key (model, version)
    );
    create unique index model_version_run on model_version (model, run_id) where run_id is not null;

    create table rollout (
      rollout_id text primary key,
      model text not null,
      version int not null,
      author text not null,
      phase text not null,
      state jsonb not null,
      policy jsonb not null,
      started_at int8 not null,
      ended_at int8,
      foreign key (model, version) references model_version
    );
    -- one rollout of a model at a time
    create unique index rollout_active on rollout (model) where ended_at is null;
    create table rollout_look (
      rollout_id text not null references rollout,
      look int not null,
      looked_at int8 not null,
      phase text not null,
      verdict text not null,
      evidence_sha256 text not null,
      evidence jsonb not null,
      primary key (rollout_id, look)
    );

    create table decision (
      seq int8 generated always as identity primary key,
      subject text not null,
      kind text not null,
      actor text not null,
      reason text not null,
      evidence_sha256 text,
      payload jsonb not null,
      idempotency_key text not null unique,
      decided_at int8 not null,
      prev_hash text not null,
      hash text not null unique
    );
    create index decision_subject on decision (subject, seq);
    create function refuse_change() returns trigger language plpgsql as $$
      begin raise exception 'decisions are append-only'; end $$;
    create trigger decision_append_only before update or delete or truncate on decision
      for each statement execute function refuse_change();

    create table route (
      model text primary key references model,
      epoch int8 not null,
      champion int not null,
      last_known_good int not null,
      canary int,
      canary_weight int not null check (canary_weight between 0 and 10000),
      shadow int,
      salt text not null,
      rollout_id text,
      updated_at int8 not null,
      reason text not null,
      check (canary is not null or canary_weight = 0)
    );
    create function announce_route() returns trigger language plpgsql as $$
      begin perform pg_notify('serin_route', new.model || ' ' || new.epoch); return null; end $$;
    create trigger route_changed after insert or update on route for each row execute function announce_route();

    create table inference_node (
      node_id text primary key,
      address text not null,
      started_at int8 not null,
      lease_expires_at int8 not null
    );
    create table route_ack (
      node_id text not null references inference_node on delete cascade,
      model text not null,
      epoch int8 not null,
      acked_at int8 not null,
      primary key (node_id, model)
    );

    create table arm_tally (
      node_id text not null,
      model text not null,
      epoch int8 not null,
      arm text not null check (arm in ('champion', 'canary', 'shadow')),
      version int not null,
      flush int8 not null,
      flushed_at int8 not null,
      first_at int8 not null,
      requests int8 not null,
      units int8 not null,
      errors int8 not null,
      fallbacks int8 not null,
      slow int8 not null,
      positives int8 not null,
      score_sum float8 not null,
      score_sum_sq float8 not null,
      score_histogram int4[] not null,
      latency_histogram int4[] not null,
      pairs int8 not null default 0,
      flips int8 not null default 0,
      difference_sum float8 not null default 0,
      difference_sum_sq float8 not null default 0,
      -- when the row came in, by the database's clock: looks read by it, so a flush that was held up is not lost
      recorded_at int8 not null default (extract(epoch from clock_timestamp()) * 1000000)::int8,
      primary key (node_id, flush, model, epoch, arm, version)
    );
    create index arm_tally_recorded on arm_tally (model, recorded_at);

    create table prediction (
      prediction_id text not null,
      model text not null,
      version int not null,
      arm text not null,
      rung text not null,
      epoch int8 not null,
      unit text not null,
      as_of int8 not null,
      answered_at int8 not null,
      score float8 not null,
      sample_weight float8 not null,
      features float8[] not null,
      request jsonb not null,
      latency_us int not null,
      error text,
      recorded_at int8 not null default (extract(epoch from clock_timestamp()) * 1000000)::int8,
      primary key (prediction_id, arm)
    );
    create index prediction_recorded on prediction (model, recorded_at);

    create table outcome (
      model text not null,
      prediction_id text not null,
      value float8 not null,
      observed_at int8 not null,
      recorded_at int8 not null default (extract(epoch from clock_timestamp()) * 1000000)::int8,
      primary key (prediction_id, model)
    );
    create index outcome_recorded on outcome (model, recorded_at);

    create table monitor_window (
      model text not null,
      monitor text not null,
      window_start int8 not null,
      window_end int8 not null,
      version int not null,
      report jsonb not null,
      primary key (model, monitor, window_start)
    );
    create table alert (
      alert_id text primary key,
      model text not null,
      monitor text not null,
      severity text not null check (severity in ('warning', 'critical')),
      status text not null check (status in ('firing', 'resolved')),
      owner text not null,
      runbook text not null,
      sentence text not null,
      raised_at int8 not null,
      resolved_at int8
    );
    -- one open alert per monitor: a second finding updates it
    create unique index alert_open on alert (model, monitor) where status = 'firing';
  `.execute(db);
}
