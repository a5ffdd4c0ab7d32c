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
  /** In the order of their sequence, which is dense: event i has sequence i + 1. */
  readonly events: readonly PushedEvent[];
  /** How many of them are among the world's first rows, by the number of those. */
  arrived(rows: number): number;
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

/** @param views the compiled views, one per view of the project (a planted fault may have bent them) */
export function feedsOf(project: ProjectSpec, world: World, views: readonly CompiledView[]): SourceFeed[] {
  return SOURCE_NAMES.map((source): SourceFeed => {
    const identityOf = eventIdentities(project.sources.find(({ name }) => name === source)!);
    const places: number[] = [];
    const events = world.rows.flatMap((row, place): PushedEvent[] => {
      if (row.source !== source) return [];
      places.push(place);
      return [pushed(row, identityOf(row))];
    });
    return {
      source,
      views: views.filter(({ plan }) => plan.source === source),
      events,
      arrived: (rows) => countBelow(places, rows),
    };
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
      const batch = { views, events: events.slice(from, toSeq), fromSeqExclusive: from, toSeq, store };
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
