/**
 * How fresh the online views are, on two clocks. Data time: how long ago the newest event in a view happened, by the clock of
 * those who push (a replay's clock is not the wall's, but goes on at its pace). Pipeline time: how long an event takes from
 * being taken in to being readable; while events wait, how long the oldest has. Data can be old while the pipeline is quick
 * (nobody pushes) and the other way round, so each is compared with the view's SLA by itself.
 */
import type { Kysely } from 'kysely';
import { Gauge, type Registry } from 'prom-client';
import { getNewestLogged } from '../db/ingest.ts';
import type { Tables } from '../db/schema.ts';
import { MICROS_PER_SECOND } from '../domain/time.ts';
import type { CompiledView } from '../features/kernel/compiled-view.ts';
import type { StreamedSource } from './streamed-views.ts';

/** The log gains files without the streamer: how often it is asked for its newest event. */
const LOG_EVERY_MICROS = 30 * MICROS_PER_SECOND;

interface AppliedEvent {
  readonly eventAt: number;
  readonly clockAt: number;
  readonly receivedAt: number;
}

export interface Freshness {
  watch(sources: readonly StreamedSource[]): Promise<void>;
  /** Events wait for the views since `receivedAt`, until they are applied. */
  pending(views: readonly CompiledView[], receivedAt: number): void;
  applied(views: readonly CompiledView[], events: readonly AppliedEvent[]): void;
}

interface ViewClock {
  readonly source: string;
  readonly slaSeconds: number;
  newestEventAt: number | null;
  delaySeconds: number | null;
  /** Wall time since which the oldest event waits that the view does not have. */
  waitsSince: number | null;
}

export function createFreshness({
  db,
  registry,
  now,
}: {
  db: Kysely<Tables>;
  registry: Registry;
  now: () => number;
}): Freshness {
  const views = new Map<string, ViewClock>();
  /** Per source, the pushers' clock less ours; 0 until one was seen. */
  const offsets = new Map<string, number>();
  let lookedAt = -Infinity;

  const dataAge = (view: ViewClock): number | null => {
    if (view.newestEventAt === null) return null;
    const offset = offsets.get(view.source) ?? 0;
    return Math.max(0, now() + offset - view.newestEventAt) / MICROS_PER_SECOND;
  };
  const delay = ({ waitsSince, delaySeconds }: ViewClock): number | null =>
    waitsSince === null ? delaySeconds : Math.max((now() - waitsSince) / MICROS_PER_SECOND, delaySeconds ?? 0);
  gauge(
    'serin_view_data_age_seconds',
    'Age of the newest event in an online view, by the clock of its source.',
    dataAge,
  );
  gauge('serin_view_pipeline_delay_seconds', 'From an event being taken in to being readable in the view.', delay);
  new Gauge({
    name: 'serin_view_sla_breached',
    help: 'Whether a view is older than its freshness SLA allows: 1 or 0, by data time and by pipeline time.',
    labelNames: ['view', 'clock'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [view, clock] of views) {
        for (const [name, seconds] of [
          ['data', dataAge(clock)],
          ['pipeline', delay(clock)],
        ] as const) {
          if (seconds !== null) this.set({ view, clock: name }, seconds > clock.slaSeconds ? 1 : 0);
        }
      }
    },
  });

  function gauge(name: string, help: string, secondsOf: (view: ViewClock) => number | null): void {
    new Gauge({
      name,
      help,
      labelNames: ['view'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [view, clock] of views) {
          const seconds = secondsOf(clock);
          if (seconds !== null) this.set({ view }, seconds);
        }
      },
    });
  }

  return {
    async watch(streamed) {
      const ids = new Set<string>();
      for (const { source, slaSeconds } of streamed) {
        for (const [id, sla] of slaSeconds) {
          ids.add(id);
          const standing = views.get(id);
          if (standing?.slaSeconds === sla) continue;
          views.set(id, {
            newestEventAt: null,
            delaySeconds: null,
            waitsSince: null,
            ...standing,
            source,
            slaSeconds: sla,
          });
        }
      }
      for (const id of views.keys()) if (!ids.has(id)) views.delete(id);
      if (now() - lookedAt < LOG_EVERY_MICROS) return;
      lookedAt = now();
      const newest = await getNewestLogged(db);
      for (const view of views.values()) {
        const logged = newest.get(view.source) ?? null;
        if (logged !== null && logged > (view.newestEventAt ?? -Infinity)) view.newestEventAt = logged;
      }
    },
    pending(waiting, receivedAt) {
      for (const { plan } of waiting) {
        const view = views.get(plan.id);
        if (view !== undefined) view.waitsSince = receivedAt;
      }
    },
    applied(moved, events) {
      const newestEventAt = events.reduce((newest, { eventAt }) => Math.max(newest, eventAt), -Infinity);
      const last = events.at(-1)!;
      const delaySeconds = Math.max(0, now() - events[0]!.receivedAt) / MICROS_PER_SECOND;
      for (const { plan } of moved) {
        offsets.set(plan.source, last.clockAt - last.receivedAt);
        const view = views.get(plan.id);
        if (view === undefined) continue;
        view.newestEventAt = Math.max(view.newestEventAt ?? -Infinity, newestEventAt);
        view.delaySeconds = delaySeconds;
        view.waitsSince = null;
      }
    },
  };
}
