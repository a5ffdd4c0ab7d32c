/** The kernel replayed offline: the whole log into one history per key, never folded, read with what a read knew. */
import type { Value } from '../../../domain/project/expression.ts';
import type { FeatureViewSpec, ProjectSpec } from '../../../domain/project/spec.ts';
import { compileHistoryView } from '../../../features/history/compile.ts';
import {
  addFact,
  createHistory,
  factOf,
  type KeyHistory,
  markerOf,
  readHistory,
} from '../../../features/history/history.ts';
import { routeVersion } from '../../../features/history/row-index.ts';
import { encodeKey } from '../../../features/kernel/key-encoding.ts';
import type { ReadKeys } from './definitions.ts';
import { eventIdentities } from './log.ts';
import type { ViewAnswer } from './read-log.ts';
import { keyOfRead } from './witness.ts';
import type { WorldRow } from './world.ts';

export interface Replay {
  answer(keys: ReadKeys, readAt: number, knownSeq: number): ViewAnswer;
}

export function replayView(project: ProjectSpec, view: FeatureViewSpec, world: readonly WorldRow[]): Replay {
  const source = project.sources.find(({ name }) => name === view.source)!;
  const entity = project.entities.find(({ name }) => name === view.entity)!;
  const plan = compileHistoryView(view, source, entity);
  const identityOf = eventIdentities(source);
  const histories = new Map<string, KeyHistory>();
  const indexes = new Map<string, Uint8Array>();
  const historyAt = (key: Uint8Array): KeyHistory => {
    const text = Buffer.from(key).toString('latin1');
    let history = histories.get(text);
    if (history === undefined) histories.set(text, (history = createHistory(plan)));
    return history;
  };
  for (const each of world) {
    if (each.source !== source.name) continue;
    const { row, kind, eventAt, availableAt, seq } = each;
    const key = encodeKey(plan.keyParts, plan.keyColumns.map((name) => row[name] ?? null) as Value[]);
    const identity = identityOf(each);
    const fact = factOf(plan, row, { kind, eventAt, availableAt, seq, identity });
    if (plan.identity !== 'row_id' || kind === 'tombstone') {
      if (key !== null) addFact(plan, historyAt(key), fact);
      continue;
    }
    const { index, additions } = routeVersion(indexes.get(identity) ?? null, { key, availableAt, seq, kind });
    indexes.set(identity, index);
    for (const addition of additions) {
      addFact(plan, historyAt(addition.key), addition.fact === 'self' ? fact : markerOf(identity, addition.fact));
    }
  }
  return {
    answer(keys, readAt, knownSeq) {
      const key = encodeKey(plan.keyParts, keyOfRead(entity, keys) as Value[]);
      const history = key === null ? undefined : histories.get(Buffer.from(key).toString('latin1'));
      return readHistory(plan, history ?? null, readAt, knownSeq);
    },
  };
}
