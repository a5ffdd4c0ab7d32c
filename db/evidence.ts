import { sql } from 'kysely';
import { type ArmTally, NO_SHADOW, NO_TALLY, type ShadowTally } from '../domain/rollout/evidence.ts';
import type { Db } from './database.ts';

/** What the inference nodes counted in (fromFlush, toFlush], by arm, under one routing epoch. */
export interface TalliesUnderEpoch {
  readonly epoch: number;
  readonly champion: ArmTally;
  readonly canary: ArmTally;
  readonly shadow: ShadowTally;
  readonly unitsChampion: number;
  readonly unitsCanary: number;
}

/**
 * Sums the tallies that came in in `(after, upTo]` (by the database's clock), per epoch. The caller chooses `upTo` far enough in
 * the past that no row with an earlier stamp is still uncommitted, so that each is counted in exactly one look.
 */
export async function readTallies(
  db: Db,
  { model, after, upTo, fromEpoch }: { model: string; after: number; upTo: number; fromEpoch: number },
): Promise<TalliesUnderEpoch[]> {
  const { rows } = await sql<{
    epoch: number;
    arm: 'champion' | 'canary' | 'shadow';
    requests: number;
    units: number;
    errors: number;
    slow: number;
    positives: number;
    score_sum: number;
    score_sum_sq: number;
    pairs: number;
    flips: number;
    difference_sum: number;
    difference_sum_sq: number;
  }>`
    select epoch, arm, sum(requests)::int8 as requests, sum(units)::int8 as units, sum(errors)::int8 as errors,
      sum(slow)::int8 as slow, sum(positives)::int8 as positives, sum(score_sum) as score_sum, sum(score_sum_sq) as score_sum_sq,
      sum(pairs)::int8 as pairs, sum(flips)::int8 as flips, sum(difference_sum) as difference_sum, sum(difference_sum_sq) as difference_sum_sq
    from arm_tally
    where model = ${model} and recorded_at > ${after} and recorded_at <= ${upTo} and epoch >= ${fromEpoch}
    group by epoch, arm order by epoch`.execute(db);
  const epochs = new Map<number, TalliesUnderEpoch>();
  for (const row of rows) {
    const standing = epochs.get(row.epoch) ?? {
      epoch: row.epoch,
      champion: NO_TALLY,
      canary: NO_TALLY,
      shadow: NO_SHADOW,
      unitsChampion: 0,
      unitsCanary: 0,
    };
    const tally: ArmTally = {
      ...NO_TALLY,
      requests: row.requests,
      errors: row.errors,
      slow: row.slow,
      positives: row.positives,
      scoreSum: row.score_sum,
      scoreSumSq: row.score_sum_sq,
    };
    switch (row.arm) {
      case 'champion':
        epochs.set(row.epoch, { ...standing, champion: tally, unitsChampion: row.units });
        break;
      case 'canary':
        epochs.set(row.epoch, { ...standing, canary: tally, unitsCanary: row.units });
        break;
      case 'shadow':
        epochs.set(row.epoch, {
          ...standing,
          shadow: {
            pairs: row.pairs,
            flips: row.flips,
            differenceSum: row.difference_sum,
            differenceSumSq: row.difference_sum_sq,
            errors: row.errors,
          },
        });
        break;
    }
  }
  return [...epochs.values()];
}

export interface LossUnderEpoch {
  readonly epoch: number;
  readonly arm: 'champion' | 'canary';
  readonly labelled: number;
  readonly lossSum: number;
  readonly lossSumSq: number;
}

/**
 * Brier loss of logged answers that became labelled in `(after, upTo]`: when the later of the answer's log row and its outcome
 * came in. All canary answers are logged but only a sample of the champion's: the canary's share among *these* rows is not the
 * traffic weight, and the analyser is told so (`labelWeight`).
 */
export async function readLosses(
  db: Db,
  { model, after, upTo, fromEpoch }: { model: string; after: number; upTo: number; fromEpoch: number },
): Promise<LossUnderEpoch[]> {
  const { rows } = await sql<{
    epoch: number;
    arm: 'champion' | 'canary';
    labelled: number;
    loss_sum: number;
    loss_sum_sq: number;
  }>`
    with labelled as (
      select p.epoch, p.arm, power(p.score - o.value, 2) as loss
      from outcome o join prediction p on p.prediction_id = o.prediction_id and p.model = o.model
      where o.model = ${model} and o.recorded_at > ${after} and o.recorded_at <= ${upTo} and p.recorded_at <= o.recorded_at
        and p.epoch >= ${fromEpoch} and p.arm in ('champion', 'canary') and p.error is null
      union all
      select p.epoch, p.arm, power(p.score - o.value, 2)
      from prediction p join outcome o on p.prediction_id = o.prediction_id and p.model = o.model
      where p.model = ${model} and p.recorded_at > ${after} and p.recorded_at <= ${upTo} and o.recorded_at < p.recorded_at
        and p.epoch >= ${fromEpoch} and p.arm in ('champion', 'canary') and p.error is null
    )
    select epoch, arm, count(*)::int8 as labelled, sum(loss) as loss_sum, sum(loss * loss) as loss_sum_sq
    from labelled group by epoch, arm order by epoch`.execute(db);
  return rows.map((row) => ({
    epoch: row.epoch,
    arm: row.arm,
    labelled: row.labelled,
    lossSum: row.loss_sum,
    lossSumSq: row.loss_sum_sq,
  }));
}

/** The database's clock, in microseconds: the one that `recorded_at` is told by. */
export async function databaseNow(db: Db): Promise<number> {
  const { rows } = await sql<{
    at: number;
  }>`select (extract(epoch from clock_timestamp()) * 1000000)::int8 as at`.execute(db);
  return rows[0]!.at;
}
