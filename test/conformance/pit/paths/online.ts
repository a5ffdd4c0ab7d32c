/**
 * An online store, fed event by event in order of arrival through the streamer's way in, and read at each `asOf` by the
 * reader that serves requests. States are folded from the first event on to the earliest question, so that nearly every
 * event comes late. Labels have no online form: theirs are read from histories that the store was fed, unfolded, like any
 * view.
 */
import type { Instant } from '../../../../domain/instant.ts';
import type { Row, Value } from '../../../../domain/project/expression.ts';
import {
  type FeatureSetSpec,
  type FeatureViewSpec,
  PROJECT_FORMAT,
  type ProjectSpec,
  versioned,
} from '../../../../domain/project/spec.ts';
import type { Micros } from '../../../../domain/time.ts';
import { decodeHistory } from '../../../../features/history/history-bytes.ts';
import { compileLabel, knownEvents, type LabelRead, readLabel } from '../../../../features/history/labels.ts';
import type { HistoryPlan } from '../../../../features/history/plan.ts';
import type { CompiledView } from '../../../../features/kernel/compiled-view.ts';
import { encodeKey } from '../../../../features/kernel/key-encoding.ts';
import { applyToView, FOLD_LAG_MICROS, type PushedEvent } from '../../../../features/online/apply-events.ts';
import { dropAll } from '../../../../features/online/guarded-write.ts';
import type { OnlineStore } from '../../../../features/online/online-store.ts';
import { compileFeatureReader } from '../../../../features/reader/feature-reader.ts';
import type { Path, PathName, ViewRead, WorldAnswer } from '../answer.ts';
import type { WorldSource } from '../case-sources.ts';
import type { World, WorldLabel } from '../case-specs.ts';

export function onlinePath(name: PathName, store: OnlineStore, close: () => Promise<void>): Path {
  let worlds = 0;
  return {
    name,
    async answer(world): Promise<WorldAnswer> {
      const feeds = new Feeds(store, `world-${++worlds}`);
      try {
        const views = await answerViews(feeds, world);
        const labels = [];
        for (const label of world.labels) labels.push(await answerLabel(feeds, world, label));
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
  readonly prefix: string;
  readonly #ids: string[] = [];

  constructor(store: OnlineStore, prefix: string) {
    this.store = store;
    this.prefix = prefix;
  }

  newId(): string {
    return `${this.prefix}-label-${this.#ids.length}`;
  }

  /** Feeds all of a source to a view. @param foldTo null: nothing is folded */
  async feed(view: CompiledView, viewId: string, source: WorldSource, foldTo: Instant | null): Promise<void> {
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
  }

  async clear(): Promise<void> {
    for (const viewId of this.#ids) await dropAll(this.store, viewId);
  }
}

/** Sequences begin at 1 in a log; those of a case that begins at 0 are one more. */
function eventsOf({ rows, identity }: WorldSource, foldTo: Instant | null): PushedEvent[] {
  const shift = rows[0]?.seq === 0 ? 1 : 0;
  return rows.map(({ kind, eventAt, availableAt, seq, row }) => ({
    kind,
    eventAt,
    availableAt,
    seq: seq + shift,
    clockAt: typeof foldTo === 'number' ? foldTo + FOLD_LAG_MICROS : null,
    row,
    eventId: identity === 'row_id' ? String(row['row']) : String(seq),
  }));
}

/** The world's views as one feature set, read as a request would be: all rows in one batch. */
async function answerViews(feeds: Feeds, world: World): Promise<ViewRead[][]> {
  if (world.views.length === 0) return [];
  const { asOf, rows } = world.spine;
  const reader = compileFeatureReader(projectOf(world, feeds.prefix), 'answers@1');
  const earliest = asOf.reduce<Instant | null>((least, at) => (least === null || at < least ? at : least), null);
  await Promise.all(reader.views.map((view, v) => feeds.feed(view, view.plan.id, world.views[v]!.source, earliest)));
  const asked = rows.map((row, r) => ({
    request: Object.fromEntries(row.map((value, c) => [fieldName(c), value])) as Row,
    // beyond 2255 instants are bigints
    asOf: asOf[r] as Micros,
  }));
  const { rows: read } = await reader.readRows(feeds.store, asked);
  return world.views.map(({ spec }, v) =>
    read.map(({ values, statuses }) => {
      const names = outputsOf(spec).map((_, o) => featureName(v, o));
      return {
        values: names.map((name) => values[name]!),
        // a default in place of null is shown as such: the rules speak of what was before it
        statuses: names.map((name) => (statuses[name] === 'defaulted' ? 'null' : statuses[name]!)),
      };
    }),
  );
}

const fieldName = (column: number): string => `field_${column}`;
const featureName = (view: number, output: number): string => `view_${view}_${output}`;

interface OutputName {
  readonly feature: string;
  readonly window: string | null;
}

function outputsOf({ features }: FeatureViewSpec): OutputName[] {
  return features.flatMap(({ name, fn, windows }): OutputName[] =>
    fn === 'latest'
      ? [{ feature: name, window: null }]
      : windows.map((window) => ({ feature: name, window: window.name })),
  );
}

function projectOf({ sources, views, spine }: World, prefix: string): ProjectSpec {
  const named = views.map(({ spec }, v) => ({ ...spec, name: `${prefix}-${v}` }));
  const set: FeatureSetSpec = {
    name: 'answers',
    version: 1,
    request: spine.types.map((type, c) => ({ name: fieldName(c), type, description: '' })),
    views: views.map(({ on }, v) => ({ alias: `view_${v}`, view: versioned(named[v]!), key: on.map(fieldName) })),
    features: named.flatMap((spec, v) =>
      outputsOf(spec).map((output, o) => ({
        kind: 'view' as const,
        name: featureName(v, o),
        alias: `view_${v}`,
        ...output,
      })),
    ),
    description: '',
  };
  return {
    format: PROJECT_FORMAT,
    name: 'conformance',
    description: '',
    sources: sources.map(({ spec }) => spec),
    entities: sources.map(({ entity }) => entity),
    views: named,
    featureSets: [set],
    spines: [],
    labels: [],
    models: [],
  };
}

async function answerLabel(feeds: Feeds, world: World, label: WorldLabel): Promise<LabelRead[]> {
  const { source, censor } = label;
  const of = ({ spec, entity }: WorldSource) => ({ source: spec, keyParts: entity.keys });
  const plan = compileLabel(label.spec, of(source), censor === null ? null : of(censor.source));
  const builtAt = world.builtAt!;
  const side = async (history: HistoryPlan, from: WorldSource, on: readonly number[]) => {
    const keys = world.spine.rows.map((row) =>
      encodeKey(history.keyParts, on.map((column) => row[column]!) as readonly Value[]),
    );
    const viewId = feeds.newId();
    await feeds.feed({ kind: 'history', plan: history }, viewId, from, null);
    const asked = keys.flatMap((key) => (key === null ? [] : [{ viewId, key }]));
    const { states } = await feeds.store.read(asked);
    let next = 0;
    return keys.map((key) => {
      const bytes = key === null ? null : states[next++]!;
      return knownEvents(history, bytes === null ? null : decodeHistory(history, bytes), builtAt);
    });
  };
  const events = await side(plan.events, source, label.on);
  const censors = plan.censors === null ? null : await side(plan.censors, censor!.source, censor!.on);
  return world.spine.asOf.map((at, row) => readLabel(plan, events[row]!, censors?.[row] ?? [], at, builtAt));
}
