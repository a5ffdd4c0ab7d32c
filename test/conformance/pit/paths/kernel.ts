/**
 * The kernels, replayed as a dataset is built: per key, questions by time, rows as they become known. The same questions
 * are asked in other ways that must give the same: all rows in order of arrival and nothing folded; every row late, after
 * the fold; state gone through bytes at every step; and, where a view's rows and functions allow it, the tile kernel.
 */
import { isDeepStrictEqual } from 'node:util';
import { compareInstants, type Instant } from '../../../../domain/instant.ts';
import { compileHistoryView } from '../../../../features/history/compile.ts';
import { decodeHistory, encodeHistory } from '../../../../features/history/history-bytes.ts';
import {
  addFact,
  createHistory,
  foldHistory,
  type KeyHistory,
  readHistory,
} from '../../../../features/history/history.ts';
import { compileLabel, knownEvents, type LabelRead, readLabel } from '../../../../features/history/labels.ts';
import type { HistoryPlan } from '../../../../features/history/plan.ts';
import type { Path, ViewRead, WorldAnswer } from '../answer.ts';
import type { WorldRow, WorldSource } from '../case-sources.ts';
import type { World, WorldLabel, WorldView } from '../case-specs.ts';
import { type Arrival, arrivalsByKey, type KeyText, keyText } from './arrivals.ts';
import { checkTiles } from './tiles.ts';

export function kernelPath(): Path {
  return {
    name: 'kernel',
    async answer(world): Promise<WorldAnswer> {
      return {
        views: world.views.map((view) => answerView(world, view)),
        labels: world.labels.map((label) => answerLabel(world, label)),
      };
    },
    async close() {},
  };
}

function answerView(world: World, view: WorldView): ViewRead[] {
  const plan = compileHistoryView(view.spec, view.source.spec, view.source.entity);
  const { asOf } = world.spine;
  const keys = spineKeys(world, plan.keyParts, view.on);
  const questions = asOf.map((_, row) => row).toSorted((a, b) => compareInstants(asOf[a]!, asOf[b]!));
  const ways = WAYS.map(({ name, order, read }) => {
    const arrivals = arrivalsByKey(plan, view.source, view.source.rows.toSorted(order));
    const reads = new Array<ViewRead>(asOf.length);
    for (const key of new Set(keys)) {
      const own = questions.filter((row) => keys[row] === key);
      const facts = key === null ? null : (arrivals.get(key) ?? null);
      const times = own.map((row) => asOf[row]!);
      const answers = facts === null ? times.map((at) => readHistory(plan, null, at)) : read(plan, facts, times);
      own.forEach((row, i) => (reads[row] = { values: answers[i]!.values, statuses: answers[i]!.statuses }));
    }
    return { name, reads };
  });
  const [first, ...others] = ways;
  for (const { name, reads } of others) {
    const row = reads.findIndex(
      (read, i) => !isDeepStrictEqual(latestOf(view, read), latestOf(view, first!.reads[i]!)),
    );
    if (row < 0) continue;
    throw new Error(
      `${plan.id} at spine row ${row}: ${show(first!.reads[row]!)} (${first!.name}) but ${show(reads[row]!)} (${name})`,
    );
  }
  checkTiles(world, view, keys, first!.reads);
  return first!.reads;
}

type ReadAt = Pick<ViewRead, 'values' | 'statuses'>;
interface Way {
  readonly name: string;
  readonly order: (a: WorldRow, b: WorldRow) => number;
  /** @param times ascending */
  readonly read: (plan: HistoryPlan, arrivals: readonly Arrival[], times: readonly Instant[]) => ReadAt[];
}

const byArrival = (a: WorldRow, b: WorldRow): number => a.seq - b.seq;

const WAYS: readonly Way[] = [
  {
    name: 'replayed by knowledge',
    order: (a, b) => compareInstants(a.availableAt, b.availableAt) || a.seq - b.seq,
    read(plan, arrivals, times) {
      let history = createHistory(plan);
      let next = 0;
      return times.map((at) => {
        for (; next < arrivals.length && arrivals[next]!.comesAt <= at; next++)
          addFact(plan, history, arrivals[next]!.fact);
        foldHistory(plan, history, at);
        history = decodeHistory(plan, encodeHistory(plan, history));
        return readHistory(plan, history, at);
      });
    },
  },
  {
    name: 'all at once',
    order: byArrival,
    read(plan, arrivals, times) {
      const history = filled(plan, arrivals, createHistory(plan));
      return times.map((at) => readHistory(plan, history, at));
    },
  },
  {
    name: 'late',
    order: byArrival,
    read(plan, arrivals, times) {
      const history = createHistory(plan);
      foldHistory(plan, history, times[0]!);
      filled(plan, arrivals, history);
      return times.map((at) => {
        foldHistory(plan, history, at);
        return readHistory(plan, history, at);
      });
    },
  },
];

function filled(plan: HistoryPlan, arrivals: readonly Arrival[], history: KeyHistory): KeyHistory {
  for (const { fact } of arrivals) addFact(plan, history, fact);
  return history;
}

/** Statuses that the rules speak of are those of latest values; of the others, values alone are compared. */
function latestOf({ outputs }: WorldView, { values, statuses }: ReadAt): unknown[] {
  return values.map((value, i) => (outputs[i]!.hasStatus ? [value, statuses[i]] : value));
}

function show({ values, statuses }: ReadAt): string {
  return `[${values.map(String).join(' | ')}] ${statuses.join(' ')}`;
}

export function spineKeys(world: World, parts: HistoryPlan['keyParts'], on: readonly number[]): (KeyText | null)[] {
  return world.spine.rows.map((row) =>
    keyText(
      parts,
      on.map((column) => row[column]!),
    ),
  );
}

function answerLabel(world: World, label: WorldLabel): LabelRead[] {
  const { source, censor } = label;
  const of = ({ spec, entity }: WorldSource) => ({ source: spec, keyParts: entity.keys });
  const plan = compileLabel(label.spec, of(source), censor === null ? null : of(censor.source));
  const events = arrivalsByKey(plan.events, source, source.rows);
  const censors = plan.censors === null ? null : arrivalsByKey(plan.censors, censor!.source, censor!.source.rows);
  const keys = spineKeys(world, plan.events.keyParts, label.on);
  const censorKeys = plan.censors === null ? null : spineKeys(world, plan.censors.keyParts, censor!.on);
  const known = (side: HistoryPlan, byKey: Map<KeyText, Arrival[]>, key: KeyText | null) => {
    const arrivals = key === null ? undefined : byKey.get(key);
    return knownEvents(
      side,
      arrivals === undefined ? null : filled(side, arrivals, createHistory(side)),
      world.builtAt!,
    );
  };
  return world.spine.asOf.map((at, row) =>
    readLabel(
      plan,
      known(plan.events, events, keys[row]!),
      plan.censors === null ? [] : known(plan.censors, censors!, censorKeys![row]!),
      at,
      world.builtAt!,
    ),
  );
}
