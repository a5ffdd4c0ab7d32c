import { sql, type Selectable } from 'kysely';
import type { Db } from './database.ts';
import type { LoggedArm, PredictionTable } from './schema.ts';

export interface LoggedPrediction {
  readonly predictionId: string;
  readonly model: string;
  /** The version that gave the score; on a lower rung not the arm's own. */
  readonly version: number;
  readonly arm: LoggedArm;
  readonly rung: string;
  readonly epoch: number;
  readonly unit: string;
  readonly asOf: number;
  readonly answeredAt: number;
  readonly score: number;
  readonly sampleWeight: number;
  /** In the order of the version's feature set; null where the value is missing. */
  readonly features: readonly (number | null)[];
  readonly request: Readonly<Record<string, number | string | boolean | null>>;
  readonly latencyMicros: number;
  readonly error: string | null;
  /** What the features knew; null: no store was read for them. */
  readonly known: FeatureKnowledge | null;
  /** Why the arm's own version did not answer, as a word; null: it did, or the word is not known. */
  readonly reason: string | null;
  /** Of each feature, a position in `FEATURE_STATUSES`; empty where none were read, or none were kept. */
  readonly statuses: readonly number[];
  /** On the rung `fallback`, the other model whose version answered; else null. */
  readonly servedModel: string | null;
  /** `request.x` and `unit` hold tokens, `features.x` is left out: personal data. */
  readonly redacted: readonly string[];
  /** The W3C trace that the request belonged to. */
  readonly traceId: string | null;
}

/** With it the features can be computed again from the log, bit for bit. */
export interface FeatureKnowledge {
  /** Per view (`name@version`), the last ingest sequence that was in the snapshot. */
  readonly knownSeq: Readonly<Record<string, number>>;
  /** When they hold: `asOf`, or the fold point of a state where that is later. */
  readonly readAt: number;
}

/**
 * Writes a batch in one statement with one parameter (a JSON array): the rows' feature vectors differ in length, which
 * `unnest` cannot carry. A prediction id that was logged before stays as it was.
 */
export async function insertPredictions(db: Db, rows: readonly LoggedPrediction[]): Promise<void> {
  if (rows.length === 0) return;
  const json = JSON.stringify(
    rows.map((row) => ({
      prediction_id: row.predictionId,
      model: row.model,
      version: row.version,
      arm: row.arm,
      rung: row.rung,
      epoch: row.epoch,
      unit: row.unit,
      as_of: row.asOf,
      answered_at: row.answeredAt,
      score: row.score,
      sample_weight: row.sampleWeight,
      features: row.features,
      request: row.request,
      latency_us: row.latencyMicros,
      error: row.error,
      known_seq: row.known?.knownSeq ?? null,
      read_at: row.known?.readAt ?? null,
      reason: row.reason,
      statuses: row.statuses.length === 0 ? null : row.statuses,
      served_model: row.servedModel,
      redacted: row.redacted.length === 0 ? null : row.redacted,
      trace_id: row.traceId,
    })),
  );
  await sql`
    insert into prediction (prediction_id, model, version, arm, rung, epoch, unit, as_of, answered_at, score,
                            sample_weight, features, request, latency_us, error, known_seq, read_at, reason, statuses,
                            served_model, redacted, trace_id)
    select prediction_id, model, version, arm, rung, epoch, unit, as_of, answered_at, score,
           sample_weight, features, request, latency_us, error, known_seq, read_at, reason, statuses, served_model,
           redacted, trace_id
    from json_to_recordset(${json}::json) as row(
      prediction_id text, model text, version int, arm text, rung text, epoch int8, unit text, as_of int8,
      answered_at int8, score float8, sample_weight float8, features float8[], request jsonb, latency_us int, error text,
      known_seq jsonb, read_at int8, reason text, statuses int2[], served_model text, redacted text[],
      trace_id text)
    on conflict do nothing`.execute(db);
}

export interface ServedPredictions {
  readonly rows: readonly LoggedPrediction[];
  /** Of all answers of the window, those that can be held against the log. */
  readonly checkable: number;
}

/**
 * Answers of a version, recorded in `[from, to)`, whose features were read from the store and whose request is known (tokens for
 * personal values are no request), by whole keys: of the keys (values of
 * `keyFields` in the request) a part is drawn by their hash, the same ones every time, so small that about `limit` rows come.
 */
export async function sampleServed(
  db: Db,
  request: {
    model: string;
    version: number;
    from: number;
    to: number;
    keyFields: readonly string[];
    limit: number;
  },
): Promise<ServedPredictions> {
  const { model, version, from, to, keyFields, limit } = request;
  const served = sql`
    model = ${model} and version = ${version} and arm <> 'shadow' and error is null
    and known_seq is not null and recorded_at >= ${from} and recorded_at < ${to}
    and not exists (select from unnest(redacted) as gone where gone like 'request.%')`;
  const counted = await sql<{ count: number }>`select count(*)::int8 as count from prediction where ${served}`.execute(
    db,
  );
  const checkable = Number(counted.rows[0]!.count);
  const share = checkable <= limit ? 1 : limit / checkable;
  const key = sql`jsonb_build_array(${sql.join(keyFields.map((field) => sql`request -> ${field}`))})`;
  const { rows } = await sql<Selectable<PredictionTable>>`
    select * from prediction
    where ${served} and ('x' || substr(md5(${key}::text), 1, 8))::bit(32)::int8 < ${Math.ceil(share * 2 ** 32)}::int8
    order by recorded_at, prediction_id limit ${2 * limit}`.execute(db);
  return { rows: rows.map(fromPredictionRow), checkable };
}

/** Versions with answers that were recorded in `[from, to)`. */
export async function listAnsweringVersions(
  db: Db,
  { model, from, to }: { model: string; from: number; to: number },
): Promise<number[]> {
  const rows = await db
    .selectFrom('prediction')
    .select('version')
    .distinct()
    .where('model', '=', model)
    .where('arm', '<>', 'shadow')
    // a fallback model's version is none of this model's
    .where('served_model', 'is', null)
    .where('recorded_at', '>=', from)
    .where('recorded_at', '<', to)
    .orderBy('version')
    .execute();
  return rows.map(({ version }) => version);
}

/** The answers logged under an id: one, or with a shadow two. Empty when it was never asked or not sampled. */
export async function listPredictions(db: Db, predictionId: string): Promise<LoggedPrediction[]> {
  const rows = await db
    .selectFrom('prediction')
    .selectAll()
    .where('prediction_id', '=', predictionId)
    .orderBy('arm')
    .execute();
  return rows.map(fromPredictionRow);
}

export function fromPredictionRow(row: Selectable<PredictionTable>): LoggedPrediction {
  return {
    predictionId: row.prediction_id,
    model: row.model,
    version: row.version,
    arm: row.arm,
    rung: row.rung,
    epoch: row.epoch,
    unit: row.unit,
    asOf: row.as_of,
    answeredAt: row.answered_at,
    score: row.score,
    sampleWeight: row.sample_weight,
    features: row.features,
    request: row.request,
    latencyMicros: row.latency_us,
    error: row.error,
    reason: row.reason,
    statuses: row.statuses ?? [],
    servedModel: row.served_model,
    redacted: row.redacted ?? [],
    traceId: row.trace_id,
    known: row.known_seq === null || row.read_at === null ? null : { knownSeq: row.known_seq, readAt: row.read_at },
  };
}
