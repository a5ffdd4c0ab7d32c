import type { Selectable } from 'kysely';
import { SerinError } from '../domain/errors.ts';
import type { RolloutPolicy } from '../domain/rollout/policy.ts';
import type { RolloutState } from '../domain/rollout/state.ts';
import { type Db, isUniqueViolation } from './database.ts';
import type { RolloutLookTable, RolloutTable } from './schema.ts';

export interface Rollout {
  readonly rolloutId: string;
  readonly model: string;
  readonly version: number;
  readonly author: string;
  readonly phase: string;
  readonly state: RolloutState;
  readonly policy: RolloutPolicy;
  readonly startedAt: number;
  readonly endedAt: number | null;
}

/** Opens a rollout; the same rollout again is found open. A model has one rollout at a time (a unique index). */
export async function openRollout(db: Db, rollout: Omit<Rollout, 'phase' | 'endedAt'>): Promise<void> {
  try {
    await db
      .insertInto('rollout')
      .values({
        rollout_id: rollout.rolloutId,
        model: rollout.model,
        version: rollout.version,
        author: rollout.author,
        phase: rollout.state.phase,
        state: JSON.stringify(rollout.state),
        policy: JSON.stringify(rollout.policy),
        started_at: rollout.startedAt,
        ended_at: null,
      })
      .onConflict((conflict) => conflict.column('rollout_id').doNothing())
      .execute();
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    const active = await findActiveRollout(db, rollout.model);
    throw new SerinError(
      'ROLLOUT_ACTIVE',
      `the model "${rollout.model}" is rolling out v${active?.version ?? '?'} (${active?.rolloutId ?? 'unknown'}); wait for its end or abort it`,
      { cause: error },
    );
  }
}

/** What the workflow knows, for readers: sets, so a retry is harmless; what has ended stays as it ended. */
export async function putRolloutState(
  db: Db,
  rolloutId: string,
  state: RolloutState,
  endedAt: number | null,
): Promise<void> {
  await db
    .updateTable('rollout')
    .set({ phase: state.phase, state: JSON.stringify(state), ended_at: endedAt })
    .where('rollout_id', '=', rolloutId)
    .where('ended_at', 'is', null)
    .execute();
}

export async function getRollout(db: Db, rolloutId: string): Promise<Rollout> {
  const row = await db.selectFrom('rollout').selectAll().where('rollout_id', '=', rolloutId).executeTakeFirst();
  if (!row)
    throw new SerinError('ROLLOUT_NOT_FOUND', `there is no rollout "${rolloutId}"; see: serin rollout status MODEL`);
  return fromRow(row);
}

export async function findActiveRollout(db: Db, model: string): Promise<Rollout | undefined> {
  const row = await db
    .selectFrom('rollout')
    .selectAll()
    .where('model', '=', model)
    .where('ended_at', 'is', null)
    .executeTakeFirst();
  return row && fromRow(row);
}

/** The rollout of a model that was under way at an instant. */
export async function findRolloutAt(db: Db, model: string, at: number): Promise<Rollout | undefined> {
  const row = await db
    .selectFrom('rollout')
    .selectAll()
    .where('model', '=', model)
    .where('started_at', '<=', at)
    .where((eb) => eb.or([eb('ended_at', 'is', null), eb('ended_at', '>=', at)]))
    .orderBy('started_at', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row && fromRow(row);
}

export async function listRollouts(
  db: Db,
  { model, limit = 50 }: { model?: string; limit?: number } = {},
): Promise<Rollout[]> {
  let query = db.selectFrom('rollout').selectAll().orderBy('started_at', 'desc').limit(limit);
  if (model !== undefined) query = query.where('model', '=', model);
  return (await query.execute()).map(fromRow);
}

export interface RolloutLook {
  readonly rolloutId: string;
  readonly look: number;
  readonly lookedAt: number;
  readonly phase: string;
  readonly verdict: string;
  readonly evidenceSha256: string;
  readonly evidence: object;
}

/** Every look is kept, first writing wins: a retried activity finds the look it already made. */
export async function putLook(db: Db, look: RolloutLook): Promise<RolloutLook> {
  await db
    .insertInto('rollout_look')
    .values({
      rollout_id: look.rolloutId,
      look: look.look,
      looked_at: look.lookedAt,
      phase: look.phase,
      verdict: look.verdict,
      evidence_sha256: look.evidenceSha256,
      evidence: JSON.stringify(look.evidence),
    })
    .onConflict((conflict) => conflict.columns(['rollout_id', 'look']).doNothing())
    .execute();
  return (await findLook(db, look.rolloutId, look.look))!;
}

export async function findLook(db: Db, rolloutId: string, look: number): Promise<RolloutLook | undefined> {
  const row = await db
    .selectFrom('rollout_look')
    .selectAll()
    .where('rollout_id', '=', rolloutId)
    .where('look', '=', look)
    .executeTakeFirst();
  return row && lookFromRow(row);
}

export async function listLooks(
  db: Db,
  rolloutId: string,
  { last = 20 }: { last?: number } = {},
): Promise<RolloutLook[]> {
  const rows = await db
    .selectFrom('rollout_look')
    .selectAll()
    .where('rollout_id', '=', rolloutId)
    .orderBy('look', 'desc')
    .limit(last)
    .execute();
  return rows.map(lookFromRow).toReversed();
}

function lookFromRow(row: Selectable<RolloutLookTable>): RolloutLook {
  return {
    rolloutId: row.rollout_id,
    look: row.look,
    lookedAt: row.looked_at,
    phase: row.phase,
    verdict: row.verdict,
    evidenceSha256: row.evidence_sha256,
    evidence: row.evidence,
  };
}

function fromRow(row: Selectable<RolloutTable>): Rollout {
  return {
    rolloutId: row.rollout_id,
    model: row.model,
    version: row.version,
    author: row.author,
    phase: row.phase,
    state: row.state,
    policy: row.policy,
    startedAt: row.started_at,
    endedAt: row.ended_at,
  };
}
