/**
 * Planted faults: ways in which a serving side goes wrong, each as a wrapper around the product's own parts. A check that
 * does not find every one of them proves nothing when it finds nothing.
 */
import type { Accumulator } from '../../../features/history/aggregates.ts';
import type { Datum } from '../../../features/history/fact.ts';
import { minus, plus } from '../../../domain/instant.ts';
import type { HistoryOutput, HistoryPlan } from '../../../features/history/plan.ts';
import type { CompiledView } from '../../../features/kernel/compiled-view.ts';
import type { OnlineStore, StatesRead } from '../../../features/online/online-store.ts';
import { MICROS_PER_HOUR, type Micros } from '../../../domain/time.ts';
import type { ReadKeys } from './definitions.ts';
import type { BendEvents } from './feeding.ts';

export interface Fault {
  readonly name: string;
  /** What goes wrong, for people. */
  readonly what: string;
  /** The plan with which states are written and read. */
  readonly plan?: (plan: HistoryPlan) => HistoryPlan;
  /** What the applier hears. */
  readonly events?: BendEvents;
  /** What a reader takes for its key. */
  readonly keys?: (keys: ReadKeys, view: string) => ReadKeys;
  /** The store as the applier has it. */
  readonly writing?: (store: OnlineStore) => OnlineStore;
  /** The store as the readers have it. @param clock the virtual now */
  readonly reading?: (store: OnlineStore, clock: () => Micros) => OnlineStore;
}

/** Of a view of the tile kernel nothing is bent: it has neither TTL nor versions. */
export function bendView(view: CompiledView, { plan }: Fault): CompiledView {
  return view.kind === 'tiles' || plan === undefined ? view : { kind: 'history', plan: plan(view.plan) };
}

export const FAULTS: readonly Fault[] = [
  {
    name: 'ttl-strict',
    what: 'a value exactly as old as its TTL is expired: < for ≤',
    plan: (plan) => (plan.ttl === null ? plan : { ...plan, ttl: minus(plan.ttl, 1) }),
  },
  {
    name: 'window-closed',
    what: 'a window is closed at its start too: [t − w, t] for (t − w, t]',
    plan: (plan) => ({
      ...longer(plan, 1),
      outputs: plan.outputs.map((output) =>
        output.over === null || output.over.length === null || output.over.hop !== null
          ? output
          : { ...output, over: { ...output.over, length: plus(output.over.length, 1) } },
      ),
    }),
  },
  {
    name: 'milliseconds',
    what: 'instants lose their microseconds on the way in',
    events: () => (event) => ({
      ...event,
      eventAt: toMillisecond(Number(event.eventAt)),
      availableAt: toMillisecond(Number(event.availableAt)),
    }),
  },
  {
    name: 'last-write-wins',
    what: 'the row that arrived last is the latest, whenever it happened',
    events: (view) => (event) =>
      view === 'price_now' && event.kind === 'put' ? { ...event, eventAt: event.clockAt! } : event,
  },
  {
    name: 'resurrection',
    what: 'a tombstone ends what is there and forgets rows that come late',
    events: () => {
      const ended = new Map<string, number>();
      return (event) => {
        const key = String(event.row['rider'] ?? event.row['sku']);
        const endedAt = ended.get(key) ?? -Infinity;
        if (event.kind === 'tombstone') ended.set(key, Math.max(endedAt, Number(event.eventAt)));
        // at the tombstone's instant, but known after it: alive
        return event.kind === 'put' && event.eventAt < endedAt ? { ...event, eventAt: endedAt } : event;
      };
    },
  },
  {
    name: 'filter-first',
    what: 'rows are filtered before their versions are told apart: a correction that fails the filter corrects nothing',
    events: (view) => (event) =>
      view === 'city_nights' && event.kind === 'put' && event.row['night'] !== true ? null : event,
  },
  {
    name: 'knowledge-ignored',
    what: 'a row counts from when it happened, known or not',
    events: () => (event) => ({
      ...event,
      availableAt: event.eventAt < event.availableAt ? event.eventAt : event.availableAt,
    }),
  },
  {
    name: 'tie-by-arrival',
    what: 'of rows at one instant the one that arrived last is the latest, whenever it became known',
    events: () => {
      const newest = new Map<string, number>();
      return (event) => {
        const at = `${String(event.row['rider'] ?? event.row['sku'] ?? event.row['device'])} ${event.eventAt}`;
        const availableAt = Math.max(Number(event.availableAt), newest.get(at) ?? -Infinity);
        newest.set(at, availableAt);
        return { ...event, availableAt };
      };
    },
  },
  {
    name: 'null-skipped',
    what: 'a null is taken for no row, and an older value shows',
    plan: (plan) => ({ ...plan, outputs: plan.outputs.map((output): HistoryOutput => ({ ...output, nulls: 'skip' })) }),
  },
  {
    name: 'stale-cache',
    what: 'states are kept for a second after they were read, and called fresh',
    reading: staleCache,
  },
  {
    name: 'boundary-flipped',
    what: 'inclusive views are exclusive and the other way round',
    plan: (plan) => ({
      ...longer(plan, 2),
      boundary: plan.boundary === 'inclusive' ? 'exclusive' : 'inclusive',
    }),
  },
  {
    name: 'keys-concatenated',
    what: "the parts of a key are joined with nothing between: ('a', 'bc') is ('ab', 'c')",
    events: (view) => (event) => {
      const { rider, city } = event.row;
      if (view !== 'city_nights' || typeof rider !== 'string' || typeof city !== 'string') return event;
      return { ...event, row: { ...event.row, rider: rider + city, city: '' } };
    },
    keys: (keys, view) =>
      view !== 'city_nights' || keys.rider === null || keys.city === null
        ? keys
        : { ...keys, rider: keys.rider + keys.city, city: '' },
  },
  {
    name: 'keys-normalised',
    what: 'keys are trimmed, folded to lower case and composed',
    events: () => (event) => {
      const row: Record<string, Datum> = { ...event.row };
      for (const part of ['rider', 'device']) if (typeof row[part] === 'string') row[part] = normal(row[part]);
      return { ...event, row };
    },
    keys: (keys) => ({
      ...keys,
      rider: keys.rider === null ? null : normal(keys.rider),
      device: keys.device === null ? null : normal(keys.device),
    }),
  },
  {
    name: 'retracts-ignored',
    what: 'a retracted row stays',
    events: () => (event) => (event.kind === 'retract' ? null : event),
  },
  {
    name: 'moved-row-stays',
    what: 'a row that is corrected to another key also stays where it was',
    events: () => (event) =>
      event.row['trip_id'] === undefined
        ? event
        : { ...event, eventId: `${event.eventId!}/${String(event.row['rider'])}` },
  },
  {
    name: 'corrections-appended',
    what: 'a correction is one more row',
    events: () => (event) =>
      event.row['trip_id'] === undefined || event.kind !== 'put'
        ? event
        : { ...event, eventId: `${event.eventId!}/${event.seq}` },
  },
  {
    name: 'ttl-not-read',
    what: 'TTL is applied when values are written and not when they are read',
    plan: (plan) => (plan.ttl === null ? plan : { ...plan, ttl: null }),
  },
  {
    name: 'plain-sum',
    what: 'doubles are added one after the other, each time rounded',
    plan: (plan) => ({
      ...plan,
      aggregates: plan.aggregates.map((aggregate, i) =>
        plan.outputs[i]!.name.startsWith('fare_sum') ? { ...aggregate, create: () => new PlainSum() } : aggregate,
      ),
    }),
  },
  {
    name: 'folded-too-far',
    what: 'states forget rows an hour before they leave the last window',
    plan: (plan) => longer(plan, -MICROS_PER_HOUR),
  },
  {
    name: 'lost-write',
    what: 'now and then the cursor moves and the states do not',
    writing: (store) => {
      let commits = 0;
      return {
        ...bound(store),
        commit: (commit) => store.commit(++commits % 40 === 0 ? { ...commit, changes: [] } : commit),
      };
    },
  },
  {
    name: 'applied-twice',
    what: 'now and then the states move and the cursor does not: the batch is applied again',
    writing: appliedTwice,
  },
  {
    name: 'torn-read',
    what: 'what is known is read after the states, not with them',
    reading: (store) => ({
      ...bound(store),
      async read(refs) {
        const { states, foldedAt } = await store.read(refs);
        const { knownSeq } = await store.read(refs);
        return { states, knownSeq, foldedAt };
      },
    }),
  },
];

function longer(plan: HistoryPlan, by: number): HistoryPlan {
  const reach = (of: HistoryPlan['horizon']): HistoryPlan['horizon'] => (of === null || of === 0 ? of : plus(of, by));
  return {
    ...plan,
    horizon: reach(plan.horizon),
    windowReach: reach(plan.windowReach),
    factReach: reach(plan.factReach),
  };
}

function toMillisecond(at: Micros): Micros {
  return Math.floor(at / 1_000) * 1_000;
}

function normal(key: string): string {
  return key.trim().toLowerCase().normalize('NFC');
}

/** A store's methods as an object's own, to put others beside them. */
function bound(store: OnlineStore): OnlineStore {
  return {
    read: (refs) => store.read(refs),
    cursors: (viewIds) => store.cursors(viewIds),
    snapshot: (viewId, refs) => store.snapshot(viewId, refs),
    commit: (commit) => store.commit(commit),
    exchange: (viewId, otherId, guard) => store.exchange(viewId, otherId, guard),
    drop: (viewId, limit) => store.drop(viewId, limit),
    dump: (viewId) => store.dump(viewId),
  };
}

const CACHED_MICROS = 1_000_000;

function staleCache(store: OnlineStore, clock: () => Micros): OnlineStore {
  const cache = new Map<string, { readonly at: Micros; readonly state: Uint8Array | null }>();
  return {
    ...bound(store),
    async read(refs): Promise<StatesRead> {
      const { states, ...fresh } = await store.read(refs);
      const now = clock();
      return {
        ...fresh,
        states: refs.map(({ viewId, key }, i) => {
          const name = `${viewId} ${Buffer.from(key).toString('latin1')}`;
          const kept = cache.get(name);
          if (kept !== undefined && now - kept.at < CACHED_MICROS) return kept.state;
          cache.set(name, { at: now, state: states[i]! });
          return states[i]!;
        }),
      };
    },
  };
}

function appliedTwice(store: OnlineStore): OnlineStore {
  let commits = 0;
  /** Revisions at which the cursor is said to be where it was before. */
  const behind = new Map<string, { readonly revision: number; readonly appliedSeq: number }>();
  return {
    ...bound(store),
    async snapshot(viewId, refs) {
      const snapshot = await store.snapshot(viewId, refs);
      const lost = behind.get(viewId);
      if (snapshot.cursor === null || lost?.revision !== snapshot.revision) return snapshot;
      return { ...snapshot, cursor: { ...snapshot.cursor, appliedSeq: lost.appliedSeq } };
    },
    async cursors(viewIds) {
      const cursors = new Map(await store.cursors(viewIds));
      for (const [viewId, { appliedSeq }] of behind) {
        const cursor = cursors.get(viewId);
        if (cursor !== undefined) cursors.set(viewId, { ...cursor, appliedSeq });
      }
      return cursors;
    },
    async commit(commit) {
      const before = (await store.snapshot(commit.viewId, [])).cursor?.appliedSeq ?? 0;
      const committed = await store.commit(commit);
      behind.delete(commit.viewId);
      if (committed && ++commits % 10 === 0) {
        const { revision } = await store.snapshot(commit.viewId, []);
        behind.set(commit.viewId, { revision, appliedSeq: before });
      }
      return committed;
    },
  };
}

class PlainSum implements Accumulator {
  #sum: number | null = null;

  add(value: Datum): void {
    if (value !== null) this.#sum = (this.#sum ?? 0) + Number(value);
  }

  merge(): void {
    throw new Error('exact windows have no tiles');
  }

  result(): Datum {
    return this.#sum;
  }

  write(): void {
    throw new Error('exact windows have no tiles');
  }
}
