import { sql } from 'kysely';
import { freshnessOf, type ViewFreshness } from '../domain/features/view-freshness.ts';
import { versioned } from '../domain/project/spec.ts';
import type { Db } from './database.ts';
import { getProject, listProjects } from './projects.ts';

export interface FreshnessOfView extends ViewFreshness {
  readonly project: string;
  /** `name@version` */
  readonly view: string;
  readonly source: string;
  readonly owner: string;
  readonly slaSeconds: number;
  readonly newestEventAt: number | null;
  /** The last event that is in the view. */
  readonly appliedSeq: number;
}

interface ClocksRow {
  readonly view_id: string;
  readonly applied_seq: number;
  readonly newest_event_at: number | null;
  readonly clock_offset: number | null;
  readonly delay_us: number | null;
  readonly waits_since: number | null;
}

/** How fresh every view in use is that a project declares, as of `now`; by project and in the order of its declaration. */
export async function listFreshness(db: Db, now: number, ofProject?: string): Promise<FreshnessOfView[]> {
  const { rows } = await sql<ClocksRow>`
    select p.view_id, p.applied_seq, p.newest_event_at, p.clock_offset, p.delay_us,
      (select b.received_at from event_buffer b where b.source = p.source and b.seq > p.applied_seq order by b.seq limit 1)
        as waits_since
    from view_progress p where p.view_id not like '%~%'`.execute(db);
  const clocks = new Map(rows.map((row) => [row.view_id, row]));
  const names = ofProject === undefined ? (await listProjects(db)).map(({ name }) => name) : [ofProject];
  const found: FreshnessOfView[] = [];
  for (const project of names) {
    const { spec } = await getProject(db, project);
    for (const view of spec.views) {
      const row = clocks.get(versioned(view));
      if (row === undefined) continue;
      const slaSeconds =
        view.freshnessSlaSeconds ?? spec.sources.find(({ name }) => name === view.source)!.freshnessSlaSeconds;
      const freshness = freshnessOf(
        {
          newestEventAt: row.newest_event_at,
          clockOffset: row.clock_offset,
          waitsSince: row.waits_since,
          lastDelay: row.delay_us,
        },
        slaSeconds,
        now,
      );
      found.push({
        project,
        view: row.view_id,
        source: view.source,
        owner: view.owner,
        slaSeconds,
        newestEventAt: row.newest_event_at,
        appliedSeq: row.applied_seq,
        ...freshness,
      });
    }
  }
  return found;
}
