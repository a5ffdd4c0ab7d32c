import { type Selectable, sql } from 'kysely';
import { SerinError } from '../domain/errors.ts';
import type { Db } from './database.ts';
import type { RouteTable } from './schema.ts';

/** What a model's traffic does, fenced by its epoch: every change is a compare-and-set and counts the epoch up. */
export interface Route {
  readonly model: string;
  readonly epoch: number;
  readonly champion: number;
  readonly lastKnownGood: number;
  readonly canary: number | null;
  /** 0…10 000, in hundredths of a percent of the units. */
  readonly canaryWeight: number;
  readonly shadow: number | null;
  readonly salt: string;
  readonly rolloutId: string | null;
  /** The request field that its rollout assigns by; null: what requests send as their unit. */
  readonly unit: string | null;
  readonly updatedAt: number;
  readonly reason: string;
}

export type RouteTarget = Pick<
  Route,
  'champion' | 'lastKnownGood' | 'canary' | 'canaryWeight' | 'shadow' | 'salt' | 'rolloutId'
>;

export async function findRoute(db: Db, model: string): Promise<Route | undefined> {
  const row = await selectRoutes(db).where('route.model', '=', model).executeTakeFirst();
  return row && fromRow(row);
}

export async function getRoute(db: Db, model: string): Promise<Route> {
  const route = await findRoute(db, model);
  if (!route) throw new SerinError('ROUTE_NOT_FOUND', `the model "${model}" has no route; apply its project first`);
  return route;
}

export async function listRoutes(db: Db): Promise<Route[]> {
  const rows = await selectRoutes(db).orderBy('route.model').execute();
  return rows.map(fromRow);
}

/** With what their rollouts say of the unit: it is fixed when a rollout starts, as the rest of its policy is. */
function selectRoutes(db: Db) {
  return db
    .selectFrom('route')
    .leftJoin('rollout', 'rollout.rollout_id', 'route.rollout_id')
    .selectAll('route')
    .select(sql<string | null>`rollout.policy ->> 'unit'`.as('unit'));
}

/** The first route of a model: everything to `champion`. A model that has one keeps it. */
export async function createRoute(
  db: Db,
  { model, champion, at }: { model: string; champion: number; at: number },
): Promise<void> {
  await db
    .insertInto('route')
    .values({
      model,
      epoch: 1,
      champion,
      last_known_good: champion,
      canary: null,
      canary_weight: 0,
      shadow: null,
      salt: model,
      rollout_id: null,
      updated_at: at,
      reason: 'created',
    })
    .onConflict((conflict) => conflict.column('model').doNothing())
    .execute();
}

/**
 * Moves the route if it still stands at `expectedEpoch`. A retry after a lost answer finds its own work done: the route at
 * the next epoch with the same target is that success.
 */
export async function moveRoute(
  db: Db,
  {
    model,
    expectedEpoch,
    target,
    at,
    reason,
  }: { model: string; expectedEpoch: number; target: RouteTarget; at: number; reason: string },
): Promise<{ epoch: number; moved: boolean }> {
  const row = await db
    .updateTable('route')
    .set({
      epoch: sql<number>`epoch + 1`,
      champion: target.champion,
      last_known_good: target.lastKnownGood,
      canary: target.canary,
      canary_weight: target.canaryWeight,
      shadow: target.shadow,
      salt: target.salt,
      rollout_id: target.rolloutId,
      updated_at: at,
      reason,
    })
    .where('model', '=', model)
    .where('epoch', '=', expectedEpoch)
    .returning('epoch')
    .executeTakeFirst();
  if (row) return { epoch: row.epoch, moved: true };
  const standing = await getRoute(db, model);
  if (standing.epoch === expectedEpoch + 1 && sameTarget(standing, target))
    return { epoch: standing.epoch, moved: false };
  throw new SerinError(
    'ROUTE_EPOCH_CONFLICT',
    `the route of "${model}" stands at epoch ${standing.epoch} (${standing.reason}), not at ${expectedEpoch}: someone else moved it; read it again and decide anew`,
    { fields: { model, expectedEpoch, epoch: standing.epoch } },
  );
}

/**
 * All traffic to the last known good version, in one statement, for the canary `version`. Idempotent, and fenced by what it
 * takes down: a route that no longer sends anything to `version` is left alone.
 */
export async function routeToLastKnownGood(
  db: Db,
  { model, version, at, reason }: { model: string; version: number; at: number; reason: string },
): Promise<{ epoch: number; moved: boolean }> {
  const row = await db
    .updateTable('route')
    .set((eb) => ({
      epoch: sql<number>`epoch + 1`,
      champion: eb.ref('last_known_good'),
      canary: null,
      canary_weight: 0,
      shadow: null,
      updated_at: at,
      reason,
    }))
    .where('model', '=', model)
    .where((eb) => eb.or([eb('canary', '=', version), eb('shadow', '=', version), eb('champion', '=', version)]))
    .where('last_known_good', '<>', version)
    .returning('epoch')
    .executeTakeFirst();
  if (row) return { epoch: row.epoch, moved: true };
  return { epoch: (await getRoute(db, model)).epoch, moved: false };
}

function sameTarget(route: Route, target: RouteTarget): boolean {
  return (
    route.champion === target.champion &&
    route.lastKnownGood === target.lastKnownGood &&
    route.canary === target.canary &&
    route.canaryWeight === target.canaryWeight &&
    route.shadow === target.shadow &&
    route.rolloutId === target.rolloutId
  );
}

function fromRow(row: Selectable<RouteTable> & { readonly unit: string | null }): Route {
  return {
    model: row.model,
    epoch: row.epoch,
    champion: row.champion,
    lastKnownGood: row.last_known_good,
    canary: row.canary,
    canaryWeight: row.canary_weight,
    shadow: row.shadow,
    salt: row.salt,
    rolloutId: row.rollout_id,
    unit: row.unit,
    updatedAt: row.updated_at,
    reason: row.reason,
  };
}
