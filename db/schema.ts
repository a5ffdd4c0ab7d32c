/** The tables as Kysely sees them. The DDL, with its constraints and reasons, is in `migrations/`. */
import type { Generated, JSONColumnType } from 'kysely';
import type { BlobRef } from '../domain/blob.ts';
import type { GateReport } from '../domain/gates/gate-report.ts';
import type { DatasetManifest } from '../domain/features/dataset-manifest.ts';
import type { EventIndexFile } from '../domain/features/event-index.ts';
import type { ForgetReport } from '../domain/features/forget-report.ts';
import type { LogFile } from '../domain/features/log-file.ts';
import type { RowReason } from '../domain/features/row-contract.ts';
import type { ProjectSpec } from '../domain/project/spec.ts';
import type { ModelVersionManifest } from '../domain/registry/manifest.ts';
import type { Stage } from '../domain/registry/stages.ts';
import type { RolloutPolicy } from '../domain/rollout/policy.ts';
import type { RolloutState } from '../domain/rollout/state.ts';

type Json<T extends object> = JSONColumnType<T, string, string>;

export interface Tables {
  project: ProjectTable;
  project_version: ProjectVersionTable;
  api_token: ApiTokenTable;
  ingest_sequence: IngestSequenceTable;
  ingest_batch: IngestBatchTable;
  log_file: LogFileTable;
  retired_log_file: RetiredLogFileTable;
  event_index: EventIndexTable;
  event_buffer: EventBufferTable;
  kafka_offset: KafkaOffsetTable;
  kafka_refused: KafkaRefusedTable;
  online_state: OnlineStateTable;
  online_cursor: OnlineCursorTable;
  view_progress: ViewProgressTable;
  forget_salt: ForgetSaltTable;
  forgotten_key: ForgottenKeyTable;
  forget_request: ForgetRequestTable;
  forgotten_blob: ForgottenBlobTable;
  dataset: DatasetTable;
  run: RunTable;
  run_metric: RunMetricTable;
  model: ModelTable;
  model_version: ModelVersionTable;
  rollout: RolloutTable;
  rollout_look: RolloutLookTable;
  decision: DecisionTable;
  route: RouteTable;
  route_ack: RouteAckTable;
  inference_node: InferenceNodeTable;
  arm_tally: ArmTallyTable;
  prediction: PredictionTable;
  redaction_key: RedactionKeyTable;
  prediction_export: PredictionExportTable;
  prediction_part: PredictionPartTable;
  outcome: OutcomeTable;
  async_prediction: AsyncPredictionTable;
  monitor_window: MonitorWindowTable;
  alert: AlertTable;
}

export interface ProjectTable {
  name: string;
  digest: string;
  updated_at: number;
}

export interface ProjectVersionTable {
  project: string;
  digest: string;
  spec: Json<ProjectSpec>;
  bundle_sha256: string | null;
  applied_by: string;
  applied_at: number;
}

export interface ApiTokenTable {
  token_sha256: string;
  principal: string;
  roles: string[];
  created_at: number;
  revoked_at: number | null;
}

export interface IngestSequenceTable {
  source: string;
  next_seq: number;
  /** Events up to here have left the buffer. */
  trimmed_seq: Generated<number>;
}

export interface IngestBatchTable {
  source: string;
  batch_id: string;
  input_sha256: string;
  first_seq: number;
  last_seq: number;
  rows_in: number;
  rows_accepted: number;
  quarantined: Json<Record<string, number>>;
  quarantine_sha256: string | null;
  ingested_at: number;
}

export interface LogFileTable {
  source: string;
  first_seq: number;
  last_seq: number;
  /** Null: a compaction wrote it. */
  batch_id: string | null;
  file: Json<LogFile>;
  /** Whether the ids of its rows are in `event_index`. */
  indexed: Generated<boolean>;
}

/** Files that a compaction replaced; their blobs stay, because manifests of datasets name them. */
export interface RetiredLogFileTable {
  source: string;
  sha256: string;
  file: Json<LogFile>;
  retired_at: number;
}

export interface EventIndexTable {
  source: string;
  sha256: string;
  file: Json<EventIndexFile>;
}

export interface EventBufferTable {
  source: string;
  seq: number;
  event_id: string;
  event_at: number;
  available_at: number;
  /** The sender's clock when it pushed (a replay's is not the wall clock): events visible by then are folded. */
  clock_at: number;
  row: Json<Record<string, number | string | boolean | null>>;
  /** A position in `OPERATIONS`. */
  op: Generated<number>;
  /** A row with the same one is the same row again. */
  version_id: string;
  /** By the database's clock. */
  received_at: Generated<number>;
  /** Written to the log, too; it stays here until every online view has read it. */
  logged: Generated<boolean>;
}

export interface KafkaOffsetTable {
  topic: string;
  partition: number;
  topic_id: string;
  source: string;
  /** Of the first record that was not taken in yet. */
  next_offset: number;
  /** Records that broke the contract, in all. */
  refused: number;
  updated_at: number;
}

export interface KafkaRefusedTable {
  topic: string;
  partition: number;
  record_offset: number;
  source: string;
  reasons: Json<readonly RowReason[]>;
  /** As it came, cut; null for a record without a value. */
  value: string | null;
  refused_at: number;
}

/** Written by `features/online/postgres-store.ts` alone, and only where PostgreSQL is the online store. */
export interface OnlineStateTable {
  slot: number;
  key: Buffer;
  state: Buffer;
}

export interface OnlineCursorTable {
  view_id: string;
  /** Null, as the next two: never fed. */
  source: string | null;
  applied_seq: number | null;
  folded_at: number | null;
  revision: Generated<number>;
  states_slot: Generated<number>;
  rows_slot: Generated<number>;
}

export interface ViewProgressTable {
  /** Of a view, or of a shadow of it that is being built. */
  view_id: string;
  source: string;
  applied_seq: number;
  updated_at: number;
  /** Up to here it was built from the log, files included; what came later came by push alone. Null: it is not known. */
  built_seq: number | null;
  /** When that was put in place. */
  built_at: number | null;
  /** Of a shadow: at which of its revisions it was about to take its view's place; at another one, it has. */
  exchange_revision: number | null;
  newest_event_at: number | null;
  /** The pushers' clock less ours, µs; null: nothing was pushed yet. */
  clock_offset: number | null;
  /** From being taken in to being readable, of the last batch. */
  delay_us: number | null;
}

export interface DatasetTable {
  digest: string;
  project: string;
  model: string;
  feature_set: string;
  manifest: Json<DatasetManifest>;
  rows: number;
  created_at: number;
  /** What a removal of an entity has made of it. */
  redacted: Json<Redaction> | null;
}

/** The latest removal; `file` stands in the place of the manifest's. */
export interface Redaction {
  readonly at: number;
  readonly requestId: string;
  /** By all removals. */
  readonly rowsRemoved: number;
  readonly file: BlobRef;
  /** Digest of the file that the manifest names. */
  readonly was: string;
}

export interface ForgetSaltTable {
  only: Generated<boolean>;
  salt: string;
}

export interface ForgottenKeyTable {
  source: string;
  /** That hold the key, with their types. */
  columns: string[];
  types: string[];
  /** Salted (`keyDigest`). */
  digest: string;
  request_id: string;
  forgotten_at: number;
}

export interface ForgetRequestTable {
  id: string;
  project: string;
  entity: string;
  /** By part; null once it is done. */
  key: Json<Record<string, number | string | boolean>> | null;
  key_digest: string;
  reason: string;
  actor: string;
  requested_at: number;
  finished_at: number | null;
  report: Json<ForgetReport> | null;
  /** Rows taken out so far, by place. */
  removed: Generated<Record<string, number>>;
}

export interface ForgottenBlobTable {
  sha256: string;
  request_id: string;
  removed_at: number | null;
}

export type RunStatus = 'running' | 'gated' | 'registered' | 'failed';

export interface RunTable {
  run_id: string;
  project: string;
  model: string;
  training: string;
  status: RunStatus;
  author: string;
  dataset: string | null;
  seed: number;
  params: Json<object>;
  /** Evaluation, environment, importance and the model file: what the run left behind. */
  result: Json<object> | null;
  gate_report: Json<GateReport> | null;
  /** The version number it takes up, whether its gates let it become that version or not. */
  number: number;
  version: number | null;
  failure: string | null;
  started_at: number;
  ended_at: number | null;
}

export interface RunMetricTable {
  run_id: string;
  name: string;
  step: number;
  value: number;
}

export interface ModelTable {
  name: string;
  project: string;
  project_digest: string;
  next_version: Generated<number>;
}

export interface ModelVersionTable {
  model: string;
  version: number;
  kind: 'rule' | 'onnx';
  manifest: Json<ModelVersionManifest>;
  manifest_sha256: string;
  stage: Stage;
  stage_epoch: number;
  stage_reason: string;
  author: string;
  run_id: string | null;
  registered_at: number;
}

export interface RolloutTable {
  rollout_id: string;
  model: string;
  version: number;
  author: string;
  phase: string;
  state: Json<RolloutState>;
  policy: Json<RolloutPolicy>;
  started_at: number;
  ended_at: number | null;
}

export interface RolloutLookTable {
  rollout_id: string;
  look: number;
  looked_at: number;
  phase: string;
  verdict: string;
  evidence_sha256: string;
  evidence: Json<object>;
}

export interface DecisionTable {
  seq: Generated<number>;
  subject: string;
  kind: string;
  actor: string;
  reason: string;
  evidence_sha256: string | null;
  payload: Json<object>;
  /** Makes a retried recording the same record. */
  idempotency_key: string;
  decided_at: number;
  prev_hash: string;
  hash: string;
}

export interface RouteTable {
  model: string;
  epoch: number;
  champion: number;
  last_known_good: number;
  canary: number | null;
  /** 0…10 000, in hundredths of a percent of the units. */
  canary_weight: number;
  shadow: number | null;
  salt: string;
  rollout_id: string | null;
  updated_at: number;
  reason: string;
}

export interface RouteAckTable {
  node_id: string;
  model: string;
  epoch: number;
  acked_at: number;
}

export interface InferenceNodeTable {
  node_id: string;
  address: string;
  started_at: number;
  lease_expires_at: number;
}

export type Arm = 'champion' | 'canary' | 'shadow';
/** `override`: a tester asked for a version; logged, and no evidence of anything. */
export type LoggedArm = Arm | 'override';

export interface ArmTallyTable {
  node_id: string;
  model: string;
  epoch: number;
  arm: Arm;
  version: number;
  /** The node's flush, counted up: with node_id it makes a flush that is sent twice one row. */
  flush: number;
  flushed_at: number;
  first_at: number;
  requests: number;
  units: number;
  errors: number;
  fallbacks: number;
  slow: number;
  positives: number;
  score_sum: number;
  score_sum_sq: number;
  score_histogram: number[];
  latency_histogram: number[];
  /** Shadow arm only: pairs with the champion's answer to the same request. */
  pairs: number;
  flips: number;
  difference_sum: number;
  difference_sum_sq: number;
  /** By the database's clock, when the row came in. */
  recorded_at: Generated<number>;
}

export interface PredictionTable {
  prediction_id: string;
  model: string;
  version: number;
  arm: LoggedArm;
  /** champion, last_known_good, rule: who answered in the end. */
  rung: string;
  epoch: number;
  unit: string;
  as_of: number;
  answered_at: number;
  score: number;
  /** The weight with which this row stands for others: 1 / the sampling rate it was logged at. */
  sample_weight: number;
  features: number[];
  request: Json<Record<string, number | string | boolean | null>>;
  latency_us: number;
  error: string | null;
  /** Per view, the last ingest sequence that was in the features; null: no store was read. */
  known_seq: Json<Record<string, number>> | null;
  /** When the features hold: `as_of`, or the fold point of a state where that is later. */
  read_at: number | null;
  /** Why the arm's own version did not answer, as a word. */
  reason: string | null;
  /** Of each feature, a position in `FEATURE_STATUSES`. */
  statuses: number[] | null;
  /** On the rung `fallback`, the other model whose version answered. */
  served_model: string | null;
  /** `request.x` and `unit` hold tokens, `features.x` is left out: personal data. Null: nothing was. */
  redacted: string[] | null;
  trace_id: string | null;
  recorded_at: Generated<number>;
}

export interface RedactionKeyTable {
  only: Generated<boolean>;
  key: string;
}

/** By the database's clock, as `PredictionTable.recorded_at`. */
export interface PredictionExportTable {
  model: string;
  exported_to: number;
  dropped_to: Generated<number>;
}

/** A Parquet file of answers that were recorded in `[from_at, to_at)` and given on one UTC day. */
export interface PredictionPartTable {
  model: string;
  from_at: number;
  to_at: number;
  /** `2026-11-21` */
  day: string;
  rows: number;
  /** Least and greatest prediction id, by bytes. */
  first_id: string;
  last_id: string;
  file: Json<BlobRef>;
  exported_at: number;
}

export interface AsyncPredictionTable {
  id: string;
  model: string;
  principal: string;
  request: Json<object> | null;
  request_digest: string;
  callback_url: string | null;
  callback_secret: string | null;
  keep_seconds: number;
  status: 'waiting' | 'answered' | 'failed';
  answer: Json<object> | null;
  asked_at: number;
  ended_at: number | null;
  delivered_at: number | null;
  delivery_failure: string | null;
}

export interface OutcomeTable {
  model: string;
  prediction_id: string;
  value: number;
  observed_at: number;
  recorded_at: Generated<number>;
}

export interface MonitorWindowTable {
  model: string;
  monitor: string;
  window_start: number;
  window_end: number;
  version: number;
  report: Json<object>;
}

export interface AlertTable {
  alert_id: string;
  model: string;
  monitor: string;
  severity: 'warning' | 'critical';
  status: 'firing' | 'resolved';
  owner: string;
  runbook: string;
  sentence: string;
  raised_at: number;
  resolved_at: number | null;
}
