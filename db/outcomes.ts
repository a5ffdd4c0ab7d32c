import { sql } from 'kysely';
import type { Db } from './database.ts';

export interface Outcome {
  readonly predictionId: string;
  readonly value: number;
  readonly observedAt: number;
}

/** Keeps the first outcome of a prediction; a correction of an outcome is a matter of its own. Returns how many were new. */
export async function putOutcomes(db: Db, model: string, outcomes: readonly Outcome[]): Promise<number> {
  const result = await sql`
    insert into outcome (model, prediction_id, value, observed_at)
    select ${model}, o.prediction_id, o.value, o.observed_at
    from unnest(${outcomes.map((o) => o.predictionId)}::text[], ${outcomes.map((o) => o.value)}::float8[], ${outcomes.map((o) => o.observedAt)}::int8[])
      as o (prediction_id, value, observed_at)
    on conflict do nothing`.execute(db);
  return Number(result.numAffectedRows ?? 0n);
}

/** What is known of one version's live quality: logged answers with their outcomes. */
export interface LiveScores {
  readonly score: Float64Array;
  readonly outcome: Uint8Array;
  readonly weight: Float64Array;
}

/** Logged answers of a version (of the champion's and the canary's units alone) whose outcome has arrived, answered in `[from, to)`. */
export async function readLiveScores(
  db: Db,
  {
    model,
    version,
    from = 0,
    to = Number.MAX_SAFE_INTEGER,
    limit = 500_000,
  }: { model: string; version: number; from?: number; to?: number; limit?: number },
): Promise<LiveScores> {
  const { rows } = await sql<{ score: number; value: number; sample_weight: number }>`
    select p.score, o.value, p.sample_weight
    from prediction p join outcome o on o.model = p.model and o.prediction_id = p.prediction_id
    where p.model = ${model} and p.version = ${version} and p.arm in ('champion', 'canary') and p.error is null
      and p.answered_at >= ${from} and p.answered_at < ${to}
    order by p.answered_at limit ${limit}`.execute(db);
  return {
    score: Float64Array.from(rows, (row) => row.score),
    outcome: Uint8Array.from(rows, (row) => row.value),
    weight: Float64Array.from(rows, (row) => row.sample_weight),
  };
}

export async function findOutcome(
  db: Db,
  model: string,
  predictionId: string,
): Promise<Pick<Outcome, 'value' | 'observedAt'> | undefined> {
  const row = await db
    .selectFrom('outcome')
    .select(['value', 'observed_at'])
    .where('model', '=', model)
    .where('prediction_id', '=', predictionId)
    .executeTakeFirst();
  return row && { value: row.value, observedAt: row.observed_at };
}
