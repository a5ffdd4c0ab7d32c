import type { Kysely } from 'kysely';
import type { Pool, PoolClient } from 'pg';
import { Gauge, Histogram, type Registry } from 'prom-client';
import { readBuffer, type StoredBufferedEvent } from '../db/ingest.ts';
import { getProject, listProjects } from '../db/projects.ts';
import type { Tables } from '../db/schema.ts';
import { versioned } from '../domain/project/spec.ts';
import { compileView, type ViewPlan } from '../features/kernel/view-plan.ts';
import { applyBuffered } from '../features/online/materialize.ts';
import type { OnlineStore } from '../features/online/online-store.ts';
import type { Logger } from '../platform/logger.ts';

/** Pushed events are announced by NOTIFY; a lost announcement is caught up with by looking this often. */
const POLL_MS = 1_000;
const BATCH = 2_000;

export interface Streamer {
  stop(): Promise<void>;
}

/**
 * Brings pushed events into the online views as they come. Each view has a cursor that is moved in the transaction that
 * writes its states, so an event is applied exactly once however often a streamer dies, and however many of them run.
 */
export function startStreamer({
  db,
  pool,
  store,
  logger,
  registry,
}: {
  db: Kysely<Tables>;
  pool: Pool;
  store: OnlineStore;
  logger: Logger;
  registry: Registry;
}): Streamer {
  const lag = new Gauge({
    name: 'serin_stream_lag_events',
    help: 'Events of a source that its online views have not applied yet.',
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
  let stopped = false;
  let wake: () => void = () => undefined;
  let woken = false;
  const awaken = () => {
    woken = true;
    wake();
  };
  const listener = listen(pool, awaken, logger);
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
    let plans = new Map<string, { digest: string; plans: ViewPlan[] }>();
    while (!stopped) {
      try {
        plans = await loadPlans(plans);
        let busy = false;
        for (const { plans: views } of plans.values()) {
          for (const [source, ofSource] of bySource(views)) busy = (await catchUp(source, ofSource)) || busy;
        }
        if (busy) continue;
      } catch (error) {
        logger.error({ err: error }, 'the streamer could not apply events; it tries again');
      }
      await rest();
    }
  }

  /** Applies what is buffered beyond the slowest view's cursor; true when there may be more. */
  async function catchUp(source: string, views: readonly ViewPlan[]): Promise<boolean> {
    const cursors = await Promise.all(views.map(async (view) => ({ view, cursor: await store.cursor(view.id) })));
    // a view that was never materialised has no cursor: its state begins with a materialisation, not in the middle of a stream
    const ready = cursors.flatMap(({ view, cursor }) =>
      cursor === null ? [] : [{ view, afterSeq: cursor.appliedSeq }],
    );
    if (ready.length === 0) return false;
    const afterSeq = Math.min(...ready.map((each) => each.afterSeq));
    const events: StoredBufferedEvent[] = await readBuffer(db, { source, afterSeq, limit: BATCH });
    if (events.length === 0) {
      lag.set({ source }, 0);
      return false;
    }
    const done = applied.startTimer({ source });
    const toSeq = events.at(-1)!.seq;
    await applyBuffered({ plans: ready.map(({ view }) => view), events, fromSeqExclusive: afterSeq, toSeq, store });
    done();
    lag.set({ source }, events.length === BATCH ? BATCH : 0);
    await pool.query('select pg_notify($1, $2)', ['serin_applied', `${source} ${toSeq}`]);
    return true;
  }

  async function loadPlans(
    known: Map<string, { digest: string; plans: ViewPlan[] }>,
  ): Promise<Map<string, { digest: string; plans: ViewPlan[] }>> {
    const next = new Map<string, { digest: string; plans: ViewPlan[] }>();
    for (const { name, digest } of await listProjects(db)) {
      const standing = known.get(name);
      if (standing?.digest === digest) {
        next.set(name, standing);
        continue;
      }
      const { spec } = await getProject(db, name);
      const plans = spec.views.map((view) =>
        compileView(
          view,
          spec.sources.find((source) => source.name === view.source)!,
          spec.entities.find((entity) => entity.name === view.entity)!,
        ),
      );
      logger.info({ project: name, views: spec.views.map(versioned) }, 'streaming into the views of a project');
      next.set(name, { digest, plans });
    }
    return next;
  }

  async function rest(): Promise<void> {
    if (woken || stopped) {
      woken = false;
      return;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, POLL_MS);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    woken = false;
  }
}

function bySource(views: readonly ViewPlan[]): Map<string, ViewPlan[]> {
  const sources = new Map<string, ViewPlan[]>();
  for (const view of views) sources.set(view.source, [...(sources.get(view.source) ?? []), view]);
  return sources;
}

/** A connection of its own for LISTEN, made anew when it breaks; polling covers the gap. */
function listen(pool: Pool, awaken: () => void, logger: Logger): { stop(): Promise<void> } {
  let stopped = false;
  let client: PoolClient | undefined;
  let retry: NodeJS.Timeout | undefined;
  const connect = async (): Promise<void> => {
    if (stopped) return;
    try {
      const connected = await pool.connect();
      client = connected;
      connected.on('notification', awaken);
      connected.on('error', () => {
        connected.release(true);
        client = undefined;
        retry = setTimeout(() => void connect(), POLL_MS);
      });
      await connected.query('listen serin_events');
    } catch (error) {
      logger.debug({ err: error }, 'cannot listen for events; polling');
      retry = setTimeout(() => void connect(), POLL_MS);
    }
  };
  void connect();
  return {
    async stop() {
      stopped = true;
      clearTimeout(retry);
      client?.release(true);
    },
  };
}
