/**
 * Feeds pushed events to views: what the kernels make of a batch, as changes of bytes that a store writes guarded. Any order
 * of arrival, duplicate, retry or second streamer ends in one final state: an event takes part when the cursor is before it,
 * and a state depends on the set of its events and the fold point alone.
 */
import { MICROS_PER_HOUR, type Micros } from '../../domain/time.ts';
import type { CompiledView } from '../kernel/compiled-view.ts';
import { applyGuarded, type ApplyResult } from './guarded-write.ts';
import { historyFeed } from './history-events.ts';
import type { OnlineStore, ViewCursor } from './online-store.ts';
import type { PushedEvent } from './pushed-event.ts';
import { tileFeed } from './tile-events.ts';

export type { PushedEvent } from './pushed-event.ts';

/**
 * How far the fold point stays behind the clock of the events. A request whose `asOf` is older than the fold point of a state
 * cannot be answered exactly; requests in flight and clocks that disagree stay well within this.
 */
export const FOLD_LAG_MICROS = MICROS_PER_HOUR;

export interface FeedRequest {
  readonly view: CompiledView;
  /** Every event of the view's source in (fromSeqExclusive, toSeq]. */
  readonly events: readonly PushedEvent[];
  readonly fromSeqExclusive: number;
  readonly toSeq: number;
  readonly store: OnlineStore;
  /** Where the states are: the view itself (absent), or a shadow of it. */
  readonly viewId?: string;
  /** Keys that no state is to be made of again, whatever arrives: entities that were forgotten. */
  readonly withhold?: (key: Uint8Array) => boolean;
}

/** Feeds a batch to one view. Running it again changes nothing. */
export async function applyToView(request: FeedRequest): Promise<ApplyResult> {
  const { view, events, fromSeqExclusive, toSeq, store, viewId = view.plan.id } = request;
  const kept = events.filter(({ seq }) => seq > fromSeqExclusive && seq <= toSeq);
  const withhold = request.withhold ?? keepAll;
  const feed = view.kind === 'tiles' ? tileFeed(view.plan, kept, withhold) : historyFeed(view.plan, kept, withhold);
  const { expected } = feed;
  return applyGuarded(store, {
    viewId,
    source: view.plan.source,
    fromSeqExclusive,
    toSeq,
    foldTo: foldPointOf(kept),
    expected,
    change: feed.change,
  });
}

export interface ApplyEventsRequest extends Omit<FeedRequest, 'view' | 'viewId' | 'withhold'> {
  /** Views of one source. No cursor of them lies before `fromSeqExclusive`. */
  readonly views: readonly CompiledView[];
  readonly withhold?: (view: CompiledView, key: Uint8Array) => boolean;
}

/** Feeds a batch to each view. @returns the cursors, by view */
export async function applyEvents(request: ApplyEventsRequest): Promise<ReadonlyMap<string, ViewCursor>> {
  const { views, withhold, ...batch } = request;
  const results = await Promise.all(
    views.map((view) =>
      applyToView({ ...batch, view, ...(withhold === undefined ? {} : { withhold: (key) => withhold(view, key) }) }),
    ),
  );
  return new Map(views.map((view, i) => [view.plan.id, results[i]!.cursor]));
}

function foldPointOf(events: readonly PushedEvent[]): Micros | null {
  let latest: Micros | null = null;
  for (const { clockAt } of events) if (clockAt !== null && (latest === null || clockAt > latest)) latest = clockAt;
  return latest === null ? null : latest - FOLD_LAG_MICROS;
}

function keepAll(): boolean {
  return false;
}
