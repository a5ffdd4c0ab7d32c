/** What a batch of events does to a view of the tile kernel. */
import type { Row } from '../../domain/project/expression.ts';
import type { ViewPlan } from '../kernel/view-plan.ts';
import { createState, decodeState, encodeState, foldTo, insert, isSpent } from '../kernel/view-state.ts';
import { keyText } from './key-list.ts';
import type { Change, PartRef } from './online-store.ts';
import { type Feed, keyOfRow, type PushedEvent } from './pushed-event.ts';

/** What one event contributes to one key. */
interface KeyEvent {
  readonly seq: number;
  readonly eventAt: number;
  /** max(eventAt, availableAt) */
  readonly visibleAt: number;
  readonly measures: Float64Array;
}

export function tileFeed(plan: ViewPlan, events: readonly PushedEvent[], withhold: (key: Uint8Array) => boolean): Feed {
  const byKey = new Map<string, { readonly ref: PartRef; readonly events: KeyEvent[] }>();
  for (const { seq, eventAt, availableAt, row } of events) {
    const key = keyOfRow(plan, row);
    if (key === null || withhold(key)) continue;
    const measures = new Float64Array(plan.measureCount);
    // values of the tile kernel's columns are never beyond 2^53
    plan.measureRow(row as Row, measures, 0);
    const text = keyText(key);
    let entry = byKey.get(text);
    if (entry === undefined) byKey.set(text, (entry = { ref: { part: 'states', key }, events: [] }));
    entry.events.push({
      seq,
      eventAt: Number(eventAt),
      visibleAt: Math.max(Number(eventAt), Number(availableAt)),
      measures,
    });
  }
  const keys = [...byKey.values()];
  const expected = keys.map(({ ref }) => ref);
  return {
    expected,
    async change({ appliedSeq, foldTo: foldAt, read }) {
      const stored = await read(expected);
      return keys.flatMap(({ ref, events: own }, i): Change[] => {
        const bytes = stored[i] ?? null;
        if (own.every(({ seq }) => seq <= appliedSeq)) return [];
        const state = bytes === null ? createState(plan) : decodeState(plan, bytes);
        for (const { seq, eventAt, visibleAt, measures } of own) {
          if (seq > appliedSeq) insert(plan, state, eventAt, visibleAt, measures, 0);
        }
        if (foldAt !== null) foldTo(plan, state, foldAt);
        if (foldAt !== null && isSpent(plan, state, foldAt)) return bytes === null ? [] : [{ ...ref, bytes: null }];
        return [{ ...ref, bytes: encodeState(plan, state) }];
      });
    },
  };
}
