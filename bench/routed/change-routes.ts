/** Changes of the route under load, and how soon every process has taken them over. */
import { sql } from 'kysely';
import type { Client } from './predict-client.ts';
import type { RoutedTier } from './routed-tier.ts';

export interface Changes {
  /** Milliseconds from the write of the route to the acknowledgement of the last process, one per change. */
  readonly reachedMs: readonly number[];
}

/** Moves the champion round `versions` as fast as the tier acknowledges; the version before stays the last known good. */
export async function changeRoutes(
  tier: RoutedTier,
  { count, versions, client }: { count: number; versions: readonly number[]; client?: Client },
): Promise<Changes> {
  const reachedMs: number[] = [];
  let before = versions.at(-1)!;
  for (let i = 0; i < count; i++) {
    const champion = versions[i % versions.length]!;
    const epoch = await tier.move({ champion, lastKnownGood: before });
    const writtenMs = performance.now();
    client?.routed(epoch, champion);
    await tier.reached(epoch);
    reachedMs.push(performance.now() - writtenMs);
    client?.acknowledged(epoch);
    before = champion;
  }
  return { reachedMs };
}

/** From now on nobody is told of a changed route: what is left to the nodes is to look for themselves. */
export async function loseNotices({ database }: RoutedTier): Promise<void> {
  await sql`alter table route disable trigger user`.execute(database.db);
}
