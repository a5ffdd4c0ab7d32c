import { sql } from 'kysely';
import type { Db } from './database.ts';

/** Who of the live inference nodes does not route a model by `epoch` (or a later one) yet. A node whose lease has run out is not live. */
export async function findLaggingNodes(
  db: Db,
  { model, epoch, at }: { model: string; epoch: number; at: number },
): Promise<{ live: number; lagging: readonly string[] }> {
  const { rows } = await sql<{ node_id: string; epoch: number | null }>`
    select n.node_id, a.epoch
    from inference_node n left join route_ack a on a.node_id = n.node_id and a.model = ${model}
    where n.lease_expires_at > ${at}`.execute(db);
  return {
    live: rows.length,
    lagging: rows.filter((row) => row.epoch === null || row.epoch < epoch).map((row) => row.node_id),
  };
}
