/**
 * An online store, fed event by event in order of arrival through the streamer's way in, and read at each `asOf`. States
 * are folded from the first event on to the earliest question, so that nearly every event comes late. Labels have no online
 * form: theirs are read from histories that the store was fed, unfolded, like any view.
 */
import type { Instant } from '../../../../domain/instant.ts';
import { decodeHistory } from '../../../../features/history/history-bytes.ts';
import { type KeyHistory, readHistory } from '../../../../features/history/history.ts';
import { compileLabel, knownEvents, type LabelRead, readLabel } from '../../../../features/history/labels.ts';
import type { HistoryPlan } from '../../../../features/history/plan.ts';
import { type CompiledView, compileView } from '../../../../features/kernel/compiled-view.ts';
import type { ViewPlan } from '../../../../features/kernel/view-plan.ts';
import { decodeState, FEATURE_STATUSES, read, readMissing } from '../../../../features/kernel/view-state.ts';
import { applyToView, FOLD_LAG_MICROS, type PushedEvent } from '../../../../features/online/apply-events.ts';
import { dropAll } from '../../../../features/online/guarded-write.ts';
import type { OnlineStore } from '../../../../features/online/online-store.ts';
import type { Path, PathName, ViewRead, WorldAnswer } from '../answer.ts';
import type { World, WorldLabel, WorldSource, WorldView } from '../case-specs.ts';
import { type KeyText, keyText } from './arrivals.ts';

export function onlinePath(name: PathName, store: OnlineStore, close: () => Promise<void>): Path {
  let worlds = 0;
  return {
    name,
    async answer(world): Promise<WorldAnswer> {
      const feeds = new Feeds(store, `world-${++worlds}`);
      try {
        const views = await Promise.all(world.views.map((view) => answerView(feeds, world, view)));
        const labels = await Promise.all(world.labels.map((label) => answerLabel(feeds, world, label)));
        return { views, labels };
      } finally {
        await feeds.clear();
      }
    },
    close,
  };
}

/** The views of one world in the store, each under an id of its own. */
class Feeds {
  readonly store: OnlineStore;
  readonly #prefix: string;
  readonly #ids: string[] = [];

  constructor(store: OnlineStore, prefix: string) {
    this.store = store;
    this.#prefix = prefix;
  }

  /** Feeds all of a source to a view. @returns the states' bytes by key */
  async feed(
    view: CompiledView,
    source: WorldSource,
    foldTo: Instant | null,
    keys: readonly (KeyText | null)[],
  ): Promise<Map<KeyText, Uint8Array>> {
    const viewId = `${this.#prefix}-${this.#ids.length}-${view.plan.id}`;
    this.#ids.push(viewId);
    let applied = 0;
    for (const event of eventsOf(source, foldTo)) {
      await applyToView({
        view,
        viewId,
        events: [event],
        fromSeqExclusive: applied,
        toSeq: event.seq,
        store: this.store,
      });
      applied = event.seq;
    }
    const asked = [...new Set(keys)].filter((key) => key !== null);
    const { states } = await this.store.read(asked.map((key) => ({ viewId, key: Buffer.from(key, 'hex') })));
    return new Map(asked.flatMap((key, i) => (states[i] ? [[key, states[i]]] : [])));
  }

  async clear(): Promise<void> {
    for (const viewId of this.#ids) await dropAll(this.store, viewId);
  }
}

/** Sequences begin at 1 in a log; a case may begin at 0. */
function eventsOf({ rows, identity }: WorldSource, foldTo: Instant | null): PushedEvent[] {
  return rows.map(({ kind, eventAt, availableAt, seq, row }) => ({
    kind,
    eventAt,
    availableAt,
    seq: seq + 1,
    clockAt: typeof foldTo === 'number' ? foldTo + FOLD_LAG_MICROS : null,
    row,
    eventId: identity === 'row_id' ? String(row['row']) : String(seq),
  }));
}

async function answerView(feeds: Feeds, world: World, view: WorldView): Promise<ViewRead[]> {
  const { asOf } = world.spine;
  const compiled = compileView(view.spec, view.source.spec, view.source.entity);
  const keys = keysOf(world, compiled.plan.keyParts, view.on);
  const earliest = asOf.reduce<Instant | null>((least, at) => (least === null || at < least ? at : least), null);
  const states = await feeds.feed(compiled, view.source, earliest, keys);
  return asOf.map((at, row) => {
    const key = keys[row];
    const bytes = key === null || key === undefined ? null : (states.get(key) ?? null);
    return compiled.kind === 'tiles' ? readTiles(compiled.plan, bytes, at) : readFacts(compiled.plan, bytes, at);
  });
}

function readFacts(plan: HistoryPlan, bytes: Uint8Array | null, asOf: Instant): ViewRead {
  return readHistory(plan, bytes === null ? null : decodeHistory(plan, bytes), asOf);
}

function readTiles(plan: ViewPlan, bytes: Uint8Array | null, asOf: Instant): ViewRead {
  const out = new Float64Array(plan.outputs.length);
  const statuses = new Uint8Array(plan.outputs.length);
  if (bytes === null) readMissing(plan, out, 0, statuses);
  else read(plan, decodeState(plan, bytes), Number(asOf), out, 0, statuses);
  return {
    values: Array.from(out, (value) => (Number.isNaN(value) ? null : value)),
    statuses: Array.from(statuses, (status) => FEATURE_STATUSES[status]!),
  };
}

function keysOf(world: World, parts: ViewPlan['keyParts'], on: readonly number[]): (KeyText | null)[] {
  return world.spine.rows.map((row) =>
    keyText(
      parts,
      on.map((column) => row[column]!),
    ),
  );
}

async function answerLabel(feeds: Feeds, world: World, label: WorldLabel): Promise<LabelRead[]> {
  const { source, censor } = label;
  const of = ({ spec, entity }: WorldSource) => ({ source: spec, keyParts: entity.keys });
  const plan = compileLabel(label.spec, of(source), censor === null ? null : of(censor.source));
  const builtAt = world.builtAt!;
  const side = async (history: HistoryPlan, from: WorldSource, on: readonly number[]) => {
    const keys = keysOf(world, history.keyParts, on);
    const states = await feeds.feed({ kind: 'history', plan: history }, from, null, keys);
    return keys.map((key) => {
      const bytes = key === null ? undefined : states.get(key);
      const stored: KeyHistory | null = bytes === undefined ? null : decodeHistory(history, bytes);
      return knownEvents(history, stored, builtAt);
    });
  };
  const events = await side(plan.events, source, label.on);
  const censors = plan.censors === null ? null : await side(plan.censors, censor!.source, censor!.on);
  return world.spine.asOf.map((at, row) => readLabel(plan, events[row]!, censors?.[row] ?? [], at, builtAt));
}
