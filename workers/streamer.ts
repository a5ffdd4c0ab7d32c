import type { Kysely } from 'kysely';
import type { Pool } from 'pg';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { readBuffer, type StoredBufferedEvent } from '../db/ingest.ts';
import type { Tables } from '../db/schema.ts';
import { advanceProgress, trimmedSequences } from '../db/view-progress.ts';
import type { CompiledView } from '../features/kernel/compiled-view.ts';
import { applyToView } from '../features/online/apply-events.ts';
import type { OnlineStore, ViewCursor } from '../features/online/online-store.ts';
import type { PushedEvent } from '../features/online/pushed-event.ts';
import type { Logger } from '../platform/logger.ts';
import { createFreshness } from './freshness.ts';
import { listen } from './listen.ts';
import { createStreamedViews, type StreamedSource } from './streamed-views.ts';

/** Pushed events are announced by NOTIFY; a lost announcement is caught up with by looking this often. */
const POLL_MS = 1_000;
/** Larger batches cost less an event, smaller ones are readable sooner. */
const BATCH = 2_000;

export interface Streamer {
  stop(): Promise<void>;
}

export interface StreamerOptions {
  readonly db: Kysely<Tables>;
  readonly pool: Pool;
  readonly store: OnlineStore;
  readonly logger: Logger;
  readonly registry: Registry;
  /** µs */
  readonly now: () => number;
  /** Keys of a view that no state is to be made of again. */
  readonly withhold?: (view: CompiledView, key: Uint8Array) => boolean;
}

/**
 * Brings pushed events into the online views as they come. Each view has a cursor that moves in the write of its states, so
 * an event is applied exactly once however often a streamer dies, and however many of them run.
 */
export function startStreamer({ db, pool, store, logger, registry, now, withhold }: StreamerOptions): Streamer {
  const lag = new Gauge({
    name: 'serin_stream_lag_events',
    help: 'Events of a source that its online views have not applied yet, at most one batch.',
    labelNames: ['source'],
    registers: [registry],
  });
  const applied = new Histogram({
    name: 'serin_stream_apply_seconds',
    help: 'Time to apply one batch of events to the online views.',
    labelNames: ['source'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1],
    registers: [registry],
  });
  const failures = new Counter({
    name: 'serin_stream_failures_total',
    help: 'Batches that a view could not take; they are tried again.',
    labelNames: ['view'],
    registers: [registry],
  });
  const freshness = createFreshness({ db, registry, now });
  const streamed = createStreamedViews(db, logger);
  let stopped = false;
  let wake: () => void = () => undefined;
  let woken = false;
  const awaken = () => {
    woken = true;
    wake();
  };
  const listener = listen(pool, 'serin_events', awaken, logger);
  const loop = run();
  return {
    async stop() {
      stopped = true;
      awaken();
      await loop;
      await listener.stop();
    },
  };

  async function run(): Promise<void> {
    while (!stopped) {
      // what is announced from here on is looked for again
      woken = false;
      let busy = false;
      try {
        const sources = await streamed.load();
        await freshness.watch(sources);
        for (const source of sources) busy = (await catchUp(source)) || busy;
      } catch (error) {
        logger.error({ err: error }, 'the streamer could not apply events; it tries again');
      }
      if (!busy) await rest();
    }
  }

  /** Applies what is buffered beyond the slowest view's cursor; true when there may be more. */
  async function catchUp({ source, views }: StreamedSource): Promise<boolean> {
    const fed = await fedViews(source, views);
    if (fed.length === 0) return false;
    const afterSeq = Math.min(...fed.map(({ cursor }) => cursor.appliedSeq));
    const stored = await readBuffer(db, { source, afterSeq, limit: BATCH });
    lag.set({ source }, stored.length);
    if (stored.length === 0) return false;
    const done = applied.startTimer({ source });
    const events = stored.map(pushedEvent);
    const toSeq = events.at(-1)!.seq;
    freshness.pending(source, stored[0]!.receivedAt);
    const results = await Promise.allSettled(
      fed.map(async ({ view, cursor }) => {
        const fromSeqExclusive = Math.min(cursor.appliedSeq, toSeq);
        const kept = withhold === undefined ? {} : { withhold: (key: Uint8Array) => withhold(view, key) };
        await applyToView({ view, events, fromSeqExclusive, toSeq, store, ...kept });
        return view;
      }),
    );
    const moved = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    results.forEach((result, i) => {
      if (result.status === 'fulfilled') return;
      const view = fed[i]!.view.plan.id;
      failures.inc({ view });
      logger.error({ err: result.reason as unknown, view, fromSeq: afterSeq, toSeq }, 'a view could not take a batch');
    });
    await advanceProgress(
      db,
      moved.map((view) => ({ viewId: view.plan.id, source, appliedSeq: toSeq })),
      now(),
    );
    done();
    if (moved.length === fed.length) lag.set({ source }, stored.length === BATCH ? BATCH : 0);
    freshness.applied(source, moved, stored);
    return moved.length > 0;
  }

  /** A view that was never filled has no cursor: it begins with a materialisation, not in the middle of a stream. */
  async function fedViews(
    source: string,
    views: readonly CompiledView[],
  ): Promise<{ readonly view: CompiledView; readonly cursor: ViewCursor }[]> {
    const [cursors, trimmed] = await Promise.all([
      store.cursors(views.map(({ plan }) => plan.id)),
      trimmedSequences(db, [source]),
    ]);
    const gone = trimmed.get(source) ?? 0;
    return views.flatMap((view) => {
      const cursor = cursors.get(view.plan.id);
      if (cursor === undefined) return [];
      if (cursor.appliedSeq >= gone) return [{ view, cursor }];
      streamed.reportGap(view.plan.id, cursor.appliedSeq, gone);
      return [];
    });
  }

  async function rest(): Promise<void> {
    if (woken || stopped) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, POLL_MS);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function pushedEvent({
  seq,
  eventAt,
  availableAt,
  clockAt,
  row,
  operation,
  eventId,
}: StoredBufferedEvent): PushedEvent {
  return { seq, eventAt, availableAt, clockAt, row, kind: operation, eventId };
}
