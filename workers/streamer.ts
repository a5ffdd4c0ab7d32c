import type { Kysely } from 'kysely';
import type { Pool } from 'pg';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { readBuffer, type StoredBufferedEvent } from '../db/ingest.ts';
import type { Tables } from '../db/schema.ts';
import { advanceProgress, type BatchClocks, trimmedSequences } from '../db/view-progress.ts';
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
const BATCH_MAX = 2_000;
/**
 * Batches begin this far apart at least, unless one is full: a batch costs the same handful of statements whatever its size,
 * and a busy key is then written once for several events. Adds as much to the time until an event is readable.
 */
const BATCH_EVERY_MS = 25;
/** How old what is known of projects and cursors may be; a write from an old cursor is refused, so this is about cost alone. */
const LOOK_AGAIN_MS = 1_000;

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
  /** Views that have a cursor, and where it was last seen. */
  const fedBySource = new Map<string, Map<CompiledView, ViewCursor>>();
  /** Views that could not take a batch are left alone for a moment (`performance.now`). */
  const restingUntil = new Map<string, number>();
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
    let sources: readonly StreamedSource[] = [];
    let lookedAt = -Infinity;
    while (!stopped) {
      // what is announced from here on is looked for again
      woken = false;
      const startedAt = performance.now();
      let caughtUp = true;
      let idle = true;
      try {
        if (startedAt - lookedAt > LOOK_AGAIN_MS) {
          sources = await streamed.load();
          fedBySource.clear();
          await freshness.watch(sources);
          lookedAt = startedAt;
        }
        for (const source of sources) {
          const events = await catchUp(source);
          if (events > 0) idle = false;
          if (events === BATCH_MAX) caughtUp = false;
        }
      } catch (error) {
        fedBySource.clear();
        logger.error({ err: error }, 'the streamer could not apply events; it tries again');
      }
      if (idle) await rest();
      else if (caughtUp) await pause(startedAt + BATCH_EVERY_MS - performance.now());
    }
  }

  /** Views that are at one point take a batch together; one that lies behind does not hold up the others. @returns how many events some view took */
  async function catchUp({ source, views }: StreamedSource): Promise<number> {
    const fed = fedBySource.get(source) ?? (await fedViews(source, views));
    fedBySource.set(source, fed);
    const points = new Map<number, CompiledView[]>();
    for (const [view, { appliedSeq }] of fed) {
      if ((restingUntil.get(view.plan.id) ?? 0) > performance.now()) continue;
      points.set(appliedSeq, [...(points.get(appliedSeq) ?? []), view]);
    }
    let most = 0;
    for (const [afterSeq, group] of points) most = Math.max(most, await feed(source, group, afterSeq, fed));
    return most;
  }

  async function feed(
    source: string,
    views: readonly CompiledView[],
    afterSeq: number,
    fed: Map<CompiledView, ViewCursor>,
  ): Promise<number> {
    const stored = await readBuffer(db, { source, afterSeq, limit: BATCH_MAX });
    lag.set({ source }, stored.length);
    if (stored.length === 0) return 0;
    const done = applied.startTimer({ source });
    const events = stored.map(pushedEvent);
    const toSeq = events.at(-1)!.seq;
    freshness.pending(views, stored[0]!.receivedAt);
    const moved: CompiledView[] = [];
    await Promise.all(
      views.map(async (view) => {
        const { id } = view.plan;
        const kept = withhold === undefined ? {} : { withhold: (key: Uint8Array) => withhold(view, key) };
        try {
          const { cursor } = await applyToView({ view, events, fromSeqExclusive: afterSeq, toSeq, store, ...kept });
          fed.set(view, cursor);
          restingUntil.delete(id);
          moved.push(view);
        } catch (error) {
          // its cursor is not where it was, or its store does not answer, or a state is damaged
          fedBySource.delete(source);
          restingUntil.set(id, performance.now() + LOOK_AGAIN_MS);
          failures.inc({ view: id });
          logger.error({ err: error, view: id, afterSeq, toSeq }, 'a view could not take a batch; it is tried again');
        }
      }),
    );
    await advanceProgress(
      db,
      moved.map((view) => ({ viewId: view.plan.id, source, appliedSeq: fed.get(view)!.appliedSeq })),
      now(),
      clocksOf(stored, now()),
    );
    done();
    if (moved.length === views.length) lag.set({ source }, stored.length === BATCH_MAX ? BATCH_MAX : 0);
    freshness.applied(moved, stored);
    return moved.length === 0 ? 0 : stored.length;
  }

  /** A view that was never filled has no cursor: it begins with a materialisation, not in the middle of a stream. */
  async function fedViews(source: string, views: readonly CompiledView[]): Promise<Map<CompiledView, ViewCursor>> {
    const [cursors, trimmed] = await Promise.all([
      store.cursors(views.map(({ plan }) => plan.id)),
      trimmedSequences(db, [source]),
    ]);
    const gone = trimmed.get(source) ?? 0;
    const fed = new Map<CompiledView, ViewCursor>();
    for (const view of views) {
      const cursor = cursors.get(view.plan.id);
      if (cursor === undefined) continue;
      if (cursor.appliedSeq >= gone) fed.set(view, cursor);
      else streamed.reportGap(view.plan.id, cursor.appliedSeq, gone);
    }
    return fed;
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

function pause(ms: number): Promise<void> {
  return ms <= 0 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, ms));
}

function clocksOf(events: readonly StoredBufferedEvent[], now: number): BatchClocks {
  const last = events.at(-1)!;
  return {
    newestEventAt: events.reduce((newest, { eventAt }) => Math.max(newest, eventAt), -Infinity),
    clockOffset: last.clockAt - last.receivedAt,
    delayMicros: Math.max(0, now - events[0]!.receivedAt),
  };
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
