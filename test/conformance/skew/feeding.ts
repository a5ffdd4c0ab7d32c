/**
 * The applier: what the streamer does with a buffer, with the rows of a world. It knows nothing but the cursors of the store,
 * so that it may die at any point and another goes on.
 */
import type { ProjectSpec } from '../../../domain/project/spec.ts';
import { compileView, type CompiledView } from '../../../features/kernel/compiled-view.ts';
import { applyEvents } from '../../../features/online/apply-events.ts';
import type { OnlineStore } from '../../../features/online/online-store.ts';
import type { PushedEvent } from '../../../features/online/pushed-event.ts';
import { SOURCE_NAMES, type SourceName } from './definitions.ts';
import { eventIdentities } from './log.ts';
import type { Random } from './random.ts';
import type { World, WorldRow } from './world.ts';

export interface SourceFeed {
  readonly source: SourceName;
  readonly views: readonly CompiledView[];
  /** In the order of their sequence, which is dense: what has sequence i + 1 is at i (one event; a fault may leave it out). */
  readonly events: readonly (PushedEvent | null)[];
  /** How many of them are among the world's first rows, by the number of those. */
  readonly arrived: (rows: number) => number;
}

export function compileViews(project: ProjectSpec): CompiledView[] {
  return project.views.map((view) =>
    compileView(
      view,
      project.sources.find(({ name }) => name === view.source)!,
      project.entities.find(({ name }) => name === view.entity)!,
    ),
  );
}

/** What a planted fault makes of the events of a view; null: the view never hears of it. In the order of arrival. */
export type BendEvents = (view: string) => (event: PushedEvent) => PushedEvent | null;

/** @param views one per view of the project */
export function feedsOf(
  project: ProjectSpec,
  world: World,
  views: readonly CompiledView[],
  bend: BendEvents | null = null,
): SourceFeed[] {
  return SOURCE_NAMES.flatMap((source): SourceFeed[] => {
    const identityOf = eventIdentities(project.sources.find(({ name }) => name === source)!);
    const places: number[] = [];
    const events = world.rows.flatMap((row, place): PushedEvent[] => {
      if (row.source !== source) return [];
      places.push(place);
      return [pushed(row, identityOf(row))];
    });
    const arrived = (rows: number): number => countBelow(places, rows);
    const fed = views.filter(({ plan }) => plan.source === source);
    if (bend === null) return [{ source, views: fed, events, arrived }];
    return fed.map((view) => {
      const name = project.views[views.indexOf(view)]!.name;
      return { source, views: [view], events: events.map(bend(name)), arrived };
    });
  });
}

export function pushed({ seq, eventAt, availableAt, clockAt, row, kind }: WorldRow, eventId: string): PushedEvent {
  return { seq, eventAt, availableAt, clockAt, row, kind, eventId };
}

/** Most events of one batch, as the streamer has it. */
const BATCH = 500;

/**
 * Applies what the cursors lack of the world's first `rows` rows. Now and then it starts before the cursor, as an applier
 * does that was slow to notice, and sends a batch twice.
 */
export async function catchUp(
  store: OnlineStore,
  feeds: readonly SourceFeed[],
  rows: number,
  random: Random,
): Promise<void> {
  for (const { views, events, arrived } of feeds) {
    const upTo = arrived(rows);
    for (;;) {
      const cursors = await store.cursors(views.map(({ plan }) => plan.id));
      const applied = Math.min(...views.map(({ plan }) => cursors.get(plan.id)?.appliedSeq ?? 0));
      if (applied >= upTo) break;
      const from = random.chance(0.05) ? Math.max(0, applied - random.between(1, 20)) : applied;
      const toSeq = Math.min(upTo, from + BATCH);
      const due = events.slice(from, toSeq).filter((event) => event !== null);
      const batch = { views, events: due, fromSeqExclusive: from, toSeq, store };
      await applyEvents(batch);
      if (random.chance(0.02)) await applyEvents(batch);
    }
  }
}

function countBelow(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
