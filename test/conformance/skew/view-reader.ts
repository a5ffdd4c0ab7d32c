/** One view's part of a read: which key, and what the kernel makes of the stored bytes. */
import type { Value } from '../../../domain/project/expression.ts';
import type { FeatureViewSpec, ProjectSpec } from '../../../domain/project/spec.ts';
import type { Micros } from '../../../domain/time.ts';
import { decodeHistory } from '../../../features/history/history-bytes.ts';
import { readHistory } from '../../../features/history/history.ts';
import type { HistoryPlan, OutputValue } from '../../../features/history/plan.ts';
import type { CompiledView } from '../../../features/kernel/compiled-view.ts';
import { encodeKey } from '../../../features/kernel/key-encoding.ts';
import type { ViewPlan } from '../../../features/kernel/view-plan.ts';
import { decodeState, FEATURE_STATUSES, read, readMissing } from '../../../features/kernel/view-state.ts';
import type { ReadKeys } from './definitions.ts';
import type { ViewAnswer } from './read-log.ts';
import { keyOfRead } from './witness.ts';

export interface ViewReader {
  readonly viewId: string;
  /** Null: a part is null, so there is no such key. */
  keyOf(keys: ReadKeys): Uint8Array | null;
  /** For one batch: bytes that several rows share are decoded once. */
  decoder(): (bytes: Uint8Array | null) => OpenState;
}

export interface OpenState {
  /** Null: can be read at any time. */
  readonly foldedAt: Micros | null;
  answer(readAt: Micros): ViewAnswer;
}

export function createViewReader(view: CompiledView, spec: FeatureViewSpec, project: ProjectSpec): ViewReader {
  const entity = project.entities.find(({ name }) => name === spec.entity)!;
  const open = view.kind === 'tiles' ? openTiles(view.plan) : openHistory(view.plan);
  return {
    viewId: view.plan.id,
    keyOf: (keys) => encodeKey(view.plan.keyParts, keyOfRead(entity, keys) as Value[]),
    decoder() {
      const opened = new Map<Uint8Array | null, OpenState>();
      return (bytes) => {
        let state = opened.get(bytes);
        if (state === undefined) opened.set(bytes, (state = open(bytes)));
        return state;
      };
    },
  };
}

function openHistory(plan: HistoryPlan): (bytes: Uint8Array | null) => OpenState {
  return (bytes) => {
    const history = bytes === null ? null : decodeHistory(plan, bytes);
    return {
      foldedAt: history === null || history.foldedAt === null ? null : Number(history.foldedAt),
      answer: (readAt) => readHistory(plan, history, readAt),
    };
  };
}

/** Numbers of the tile kernel: NaN is null, a status of `defaulted` a null before its default. */
function openTiles(plan: ViewPlan): (bytes: Uint8Array | null) => OpenState {
  const numbers = new Float64Array(plan.outputs.length);
  const kinds = new Uint8Array(plan.outputs.length);
  return (bytes) => {
    const state = bytes === null ? null : decodeState(plan, bytes);
    return {
      foldedAt: state === null || state.foldedAt === -Infinity ? null : state.foldedAt,
      answer(readAt) {
        if (state === null) readMissing(plan, numbers, 0, kinds);
        else read(plan, state, readAt, numbers, 0, kinds);
        return {
          values: Array.from(numbers, (value): OutputValue => (Number.isNaN(value) ? null : value)),
          statuses: Array.from(kinds, (kind) => {
            const status = FEATURE_STATUSES[kind]!;
            return status === 'defaulted' ? 'null' : status;
          }),
        };
      },
    };
  };
}
