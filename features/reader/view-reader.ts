/** Reads one view from the bytes of a key, whichever kernel keeps it. */
import { decodeHistory } from '../history/history-bytes.ts';
import { type KeyHistory, readHistory } from '../history/history.ts';
import type { Instant } from '../../domain/instant.ts';
import type { HistoryPlan, OutputValue } from '../history/plan.ts';
import { vectorNumber } from '../history/vector-number.ts';
import type { CompiledView } from '../kernel/compiled-view.ts';
import type { ViewPlan } from '../kernel/view-plan.ts';
import {
  decodeState,
  FEATURE_STATUSES,
  type FeatureStatus,
  read as readTiles,
  readMissing,
  type ViewState,
} from '../kernel/view-state.ts';

/** A key's state: what it is made of is for the view's own reader to know. */
export interface DecodedState {
  /** Reads are at or after it; null: at any time. */
  readonly foldedAt: Instant | null;
}

export interface ViewValues {
  /** In the order of the plan's outputs, with the default in place of null. */
  readonly values: readonly OutputValue[];
  readonly statuses: readonly FeatureStatus[];
  /**
   * µs back to the event behind a `latest` value, for aggregates to the key's newest event in reach of the view's windows;
   * where only tiles are kept, to the end of the newest tile that holds one.
   */
  readonly ages: readonly (Instant | null)[];
}

export interface ViewReader {
  /** @throws RangeError for bytes of another view or layout */
  decode(bytes: Uint8Array): DecodedState;
  /** @param state null: nothing is stored of the key, or the key has a null part  @throws RangeError before the fold point */
  read(state: DecodedState | null, at: Instant): ViewValues;
  /** The same as numbers (truth values 1 and 0, null NaN), with positions in `FEATURE_STATUSES`. */
  readNumbers(state: DecodedState | null, at: Instant, out: Float64Array, statuses: Uint8Array): void;
}

export function createViewReader(view: CompiledView): ViewReader {
  return view.kind === 'tiles' ? tileReader(view.plan) : historyReader(view.plan);
}

function tileReader(plan: ViewPlan): ViewReader {
  const numbers = new Float64Array(plan.outputs.length);
  const kinds = new Uint8Array(plan.outputs.length);
  const readNumbers: ViewReader['readNumbers'] = (state, at, out, statuses) => {
    if (state === null) readMissing(plan, out, 0, statuses);
    // instants of tile views are numbers
    else readTiles(plan, state as ViewState, at as number, out, 0, statuses);
  };
  return {
    decode: (bytes) => decodeState(plan, bytes),
    readNumbers,
    read(state, at) {
      readNumbers(state, at, numbers, kinds);
      const newest = state === null ? null : newestEvent(plan, state as ViewState, at as number);
      const age = newest === null ? null : Math.max(0, (at as number) - newest);
      return {
        values: Array.from(numbers, (value) => (Number.isNaN(value) ? null : value)),
        statuses: Array.from(kinds, (kind) => FEATURE_STATUSES[kind]!),
        ages: plan.outputs.map(() => age),
      };
    },
  };
}

/** The newest event that is in reach at `at`, to the end of its tile; null: none is. */
function newestEvent(plan: ViewPlan, { runs, pending }: ViewState, at: number): number | null {
  let newest = -Infinity;
  plan.tileSets.forEach(({ hopMicros, lengthMicros, stride }, s) => {
    const { rows, head, count } = runs[s]!;
    if (count === 0) return;
    const last = rows[(head + count - 1) * stride]!;
    const eventAt = hopMicros === null ? last : (last + 1) * hopMicros;
    if (eventAt > at - lengthMicros) newest = Math.max(newest, eventAt);
  });
  const stride = 2 + plan.measureCount;
  for (let i = pending.head; i < pending.head + pending.count && pending.rows[i * stride]! <= at; i++) {
    const eventAt = pending.rows[i * stride + 1]!;
    if (eventAt > at - plan.horizonMicros) newest = Math.max(newest, eventAt);
  }
  return newest === -Infinity ? null : newest;
}

function historyReader(plan: HistoryPlan): ViewReader {
  const readAt = (state: DecodedState | null, at: Instant): ReturnType<typeof readHistory> =>
    readHistory(plan, state as KeyHistory | null, at);
  return {
    decode: (bytes) => decodeHistory(plan, bytes),
    read(state, at) {
      const { values, statuses, defaulted, ages } = readAt(state, at);
      return { values, statuses: statuses.map((status, i) => shownStatus(status, defaulted[i]!)), ages };
    },
    readNumbers(state, at, out, kinds) {
      const { values, statuses, defaulted } = readAt(state, at);
      for (let i = 0; i < values.length; i++) {
        out[i] = isNumeric(plan, i) ? vectorNumber(values[i]!) : NaN;
        kinds[i] = FEATURE_STATUSES.indexOf(shownStatus(statuses[i]!, defaulted[i]!));
      }
    },
  };
}

/** A default in place of a null is said; why there was none (not found, expired, deleted) says more. */
function shownStatus(status: FeatureStatus, defaulted: boolean): FeatureStatus {
  return defaulted && status === 'null' ? 'defaulted' : status;
}

/** Text and lists are in no vector: a model does not pick them. */
function isNumeric({ outputs }: HistoryPlan, output: number): boolean {
  const { type } = outputs[output]!;
  return typeof type === 'string' && type !== 'str';
}
