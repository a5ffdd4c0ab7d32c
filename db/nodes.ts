import { sql } from 'kysely';
import type { Db } from './database.ts';

export interface InferenceNode {
  readonly nodeId: string;
  readonly address: string;
  readonly startedAt: number;
}

/** How long a node counts as live after its last heartbeat. Heartbeats come each second, so four may be lost. */
export const LEASE_MICROS = 5_000_000;
/** Nodes that died this long ago are forgotten. */
const FORGET_MICROS = 600_000_000;

/** Leases are written and compared by the clock of the database: the clocks of the nodes need not agree. */
const databaseNow = sql<number>`(extract(epoch from clock_timestamp()) * 1000000)::int8`;

/**
 * Takes the lease of a starting node. What its former life acknowledged is void: it has loaded nothing yet. Taken before
 * the first route is read, so that no epoch can count as routed by all while this node still reads the one before.
 */
export async function registerNode(db: Db, { nodeId, address, startedAt }: InferenceNode): Promise<void> {
  await db
    .deleteFrom('inference_node')
    .where((eb) =>
      eb.or([
        eb('node_id', '=', nodeId),
        eb('lease_expires_at', '<', sql<number>`${databaseNow} - ${FORGET_MICROS}::int8`),
      ]),
    )
    .execute();
  await renewLease(db, { nodeId, address, startedAt });
}

/** @returns false when the lease had been lost (the row was gone) and was taken anew: the node must acknowledge again. */
export async function renewLease(db: Db, { nodeId, address, startedAt }: InferenceNode): Promise<boolean> {
  const row = await db
    .insertInto('inference_node')
    .values({
      node_id: nodeId,
      address,
      started_at: startedAt,
      lease_expires_at: sql<number>`${databaseNow} + ${LEASE_MICROS}::int8`,
    })
    .onConflict((conflict) =>
      conflict.column('node_id').doUpdateSet({ address, lease_expires_at: sql<number>`excluded.lease_expires_at` }),
    )
    .returning(sql<boolean>`xmax <> 0`.as('renewed'))
    .executeTakeFirstOrThrow();
  return row.renewed;
}

/** Gives the lease back on an orderly end, so that no rollout waits for this node. */
export async function releaseLease(db: Db, nodeId: string): Promise<void> {
  await db.deleteFrom('inference_node').where('node_id', '=', nodeId).execute();
}

/** Says that every answer to a request that arrives from now on is routed by `epoch` or a later one. Epochs only grow. */
export async function acknowledgeRoutes(
  db: Db,
  nodeId: string,
  acknowledged: readonly { readonly model: string; readonly epoch: number }[],
): Promise<void> {
  if (acknowledged.length === 0) return;
  await db
    .insertInto('route_ack')
    .values(acknowledged.map(({ model, epoch }) => ({ node_id: nodeId, model, epoch, acked_at: databaseNow })))
    .onConflict((conflict) =>
      conflict
        .columns(['node_id', 'model'])
        .doUpdateSet({ epoch: sql<number>`excluded.epoch`, acked_at: sql<number>`excluded.acked_at` })
        .whereRef('route_ack.epoch', '<', sql<number>`excluded.epoch`),
    )
    .execute();
}

export interface RouteReach {
  /** Nodes whose lease is in force. */
  readonly live: readonly string[];
  /** Those of them that do not route the model by the epoch yet. */
  readonly behind: readonly string[];
}

/** Which live nodes route `model` by `epoch` (or a later one). */
export async function getRouteReach(db: Db, model: string, epoch: number): Promise<RouteReach> {
  const nodes = await db
    .selectFrom('inference_node as node')
    .leftJoin('route_ack as ack', (join) => join.onRef('ack.node_id', '=', 'node.node_id').on('ack.model', '=', model))
    .where('node.lease_expires_at', '>', databaseNow)
    .select(['node.node_id', 'ack.epoch'])
    .orderBy('node.node_id')
    .execute();
  return {
    live: nodes.map((node) => node.node_id),
    behind: nodes.filter((node) => node.epoch === null || node.epoch < epoch).map((node) => node.node_id),
  };
}
