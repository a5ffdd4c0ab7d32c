import { sql, type Selectable } from 'kysely';
import type { Db } from './database.ts';
import type { Arm, PredictionTable } from './schema.ts';

export interface LoggedPrediction {
  readonly predictionId: string;
  readonly model: string;
  /** The version that gave the score; on a lower rung not the arm's own. */
  readonly version: number;
  readonly arm: Arm;
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
    })),
  );
  await sql`
    insert into prediction (prediction_id, model, version, arm, rung, epoch, unit, as_of, answered_at, score,
                            sample_weight, features, request, latency_us, error)
    select prediction_id, model, version, arm, rung, epoch, unit, as_of, answered_at, score,
           sample_weight, features, request, latency_us, error
    from json_to_recordset(${json}::json) as row(
      prediction_id text, model text, version int, arm text, rung text, epoch int8, unit text, as_of int8,
      answered_at int8, score float8, sample_weight float8, features float8[], request jsonb, latency_us int, error text)
    on conflict do nothing`.execute(db);
}

/** The answers logged under an id: one, or with a shadow two. Empty when it was never asked or not sampled. */
export async function listPredictions(db: Db, predictionId: string): Promise<LoggedPrediction[]> {
  const rows = await db
    .selectFrom('prediction')
    .selectAll()
    .where('prediction_id', '=', predictionId)
    .orderBy('arm')
    .execute();
  return rows.map(fromRow);
}

function fromRow(row: Selectable<PredictionTable>): LoggedPrediction {
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
  };
}
