/**
 * What a batch of events does to a view of the history kernel. Where a correction may move a row to another key, the view
 * has an index of its rows beside the states, and both change in one commit.
 */
import { decodeHistory, encodeHistory } from '../history/history-bytes.ts';
import { addFact, createHistory, factOf, foldHistory, isSpentHistory, markerOf } from '../history/history.ts';
import type { Fact } from '../history/fact.ts';
import type { HistoryPlan } from '../history/plan.ts';
import { routeVersion } from '../history/row-index.ts';
import type { ViewInTurn } from './guarded-write.ts';
import { keyText } from './key-list.ts';
import type { Change, PartRef } from './online-store.ts';
import { type Feed, keyOfRow, type PushedEvent } from './pushed-event.ts';

/** A row of the batch as the view sees it. */
interface Arrival {
  /** Null: the row belongs to no entity. */
  readonly key: Uint8Array | null;
  readonly fact: Fact;
}

export function historyFeed(
  plan: HistoryPlan,
  events: readonly PushedEvent[],
  withhold: (key: Uint8Array) => boolean,
): Feed {
  const arrivals: Arrival[] = events.map((event) => {
    const { row, kind = 'put', eventAt, availableAt, seq, eventId = null } = event;
    const key = keyOfRow(plan, row);
    return { key, fact: factOf(plan, row, { kind, eventAt, availableAt, seq, identity: eventId }) };
  });
  return plan.identity === 'row_id' ? movingRows(plan, arrivals, withhold) : settledRows(plan, arrivals, withhold);
}

/** Rows stay with their key. */
function settledRows(plan: HistoryPlan, arrivals: readonly Arrival[], withhold: (key: Uint8Array) => boolean): Feed {
  const additions = new Additions(withhold);
  for (const { key, fact } of arrivals) if (key !== null) additions.add(key, fact);
  return {
    expected: additions.refs,
    change: (turn) => changesOf(plan, additions, turn),
  };
}

/** Rows may move: the index says which keys hold a version of a row, and what each of them must be told. */
function movingRows(plan: HistoryPlan, arrivals: readonly Arrival[], withhold: (key: Uint8Array) => boolean): Feed {
  const rows = new Map<string, PartRef>();
  for (const { fact } of arrivals) {
    const { identity } = fact;
    if (identity !== null && !rows.has(identity))
      rows.set(identity, { part: 'rows', key: Buffer.from(identity, 'utf8') });
  }
  const expected = [...rows.values()];
  return {
    expected,
    async change(turn) {
      const stored = await turn.read(expected);
      const index = new Map([...rows.keys()].map((identity, i) => [identity, stored[i] ?? null]));
      const additions = new Additions(withhold);
      const touched = new Set<string>();
      for (const { key, fact } of arrivals) {
        const { identity, kind, availableAt, seq } = fact;
        if (seq <= turn.appliedSeq) continue;
        if (identity === null || kind === 'tombstone') {
          if (key !== null) additions.add(key, fact);
          continue;
        }
        const routed = routeVersion(index.get(identity) ?? null, { key, kind, availableAt, seq });
        index.set(identity, routed.index);
        touched.add(identity);
        for (const each of routed.additions) {
          additions.add(each.key, each.fact === 'self' ? fact : markerOf(identity, each.fact));
        }
      }
      const states = await changesOf(plan, additions, turn);
      return [
        ...states,
        ...[...touched].map((identity): Change => ({ ...rows.get(identity)!, bytes: index.get(identity)! })),
      ];
    },
  };
}

/** Facts by key. */
class Additions {
  readonly refs: PartRef[] = [];
  readonly facts: Fact[][] = [];
  readonly #places = new Map<string, number>();
  readonly #withhold: (key: Uint8Array) => boolean;

  constructor(withhold: (key: Uint8Array) => boolean) {
    this.#withhold = withhold;
  }

  add(key: Uint8Array, fact: Fact): void {
    const text = keyText(key);
    let place = this.#places.get(text);
    if (place === undefined) {
      if (this.#withhold(key)) return;
      this.#places.set(text, (place = this.refs.push({ part: 'states', key }) - 1));
      this.facts.push([]);
    }
    this.facts[place]!.push(fact);
  }
}

async function changesOf(
  plan: HistoryPlan,
  { refs, facts }: Additions,
  { appliedSeq, foldTo, read }: ViewInTurn,
): Promise<Change[]> {
  const stored = await read(refs);
  return refs.flatMap((ref, i): Change[] => {
    // a mark of an older version that a row brings along may itself have an older sequence: only rows of the batch are skipped
    const fresh = facts[i]!.filter(
      ({ seq, kind }) => seq > appliedSeq || (kind === 'retract' && plan.identity === 'row_id'),
    );
    if (fresh.length === 0) return [];
    const bytes = stored[i] ?? null;
    const history = bytes === null ? createHistory(plan) : decodeHistory(plan, bytes);
    for (const fact of fresh) addFact(plan, history, fact);
    if (foldTo !== null) {
      foldHistory(plan, history, foldTo);
      if (isSpentHistory(plan, history, foldTo)) return bytes === null ? [] : [{ ...ref, bytes: null }];
    }
    return [{ ...ref, bytes: encodeHistory(plan, history) }];
  });
}
