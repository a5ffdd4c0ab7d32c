/**
 * Where the states of feature views lie for serving. One row per (view, key) with the bytes of `features/kernel`, and one
 * cursor per view that says up to which ingest sequence events are in it.
 *
 * What every implementation guarantees:
 * - **Exactly once.** An event takes part in a view's states once, whatever is retried, repeated or run twice at a time:
 *   the cursor moves in the transaction that writes the states.
 * - **Nothing half-done.** A reader sees the states of a view before a batch or after it (per `read`, over all views), and
 *   a failed `apply` or `replaceAll` leaves what was there.
 * - **No drift.** States depend on the events and the fold point alone, so any cut of the events into batches reads the same.
 */
import type { Micros } from '../../domain/time.ts';
import type { ViewPlan } from '../kernel/view-plan.ts';

export interface StateRef {
  /** `name@version` */
  readonly viewId: string;
  /** As `encodeKey` writes it. */
  readonly key: Uint8Array;
}

export interface StatesRead {
  /** One per reference, in their order (the same bytes object for the same key); null: the key has no state. */
  readonly states: readonly (Uint8Array | null)[];
  /** Per view of the references: the last ingest sequence of its source that these states contain. Views never fed are absent. */
  readonly knownSeq: ReadonlyMap<string, number>;
}

export interface ViewCursor {
  readonly source: string;
  readonly appliedSeq: number;
  readonly foldedAt: Micros;
}

/** What one event contributes to one key: instants, and measures as `ViewPlan.measureRow` gives them. */
export interface KeyEvent {
  readonly seq: number;
  readonly eventAt: Micros;
  /** max(eventAt, availableAt) */
  readonly visibleAt: Micros;
  readonly measures: Float64Array;
}

export interface KeyChange {
  readonly key: Uint8Array;
  readonly events: readonly KeyEvent[];
}

export interface ApplyRequest {
  readonly plan: ViewPlan;
  /** The batch holds every event of the source in (fromSeqExclusive, toSeq] that has a key in this view. */
  readonly fromSeqExclusive: number;
  readonly toSeq: number;
  /** Touched states are folded up to here; later reads of them must be at or after it. */
  readonly foldTo: Micros;
  /** Each key once. */
  readonly changes: readonly KeyChange[];
}

export interface ApplyResult {
  /** False when all of the batch had been applied before. */
  readonly applied: boolean;
  readonly cursor: ViewCursor;
}

export interface StateEntry {
  readonly key: Uint8Array;
  readonly state: Uint8Array;
  readonly foldedAt: Micros;
}

export interface ReplaceRequest {
  readonly viewId: string;
  readonly cursor: ViewCursor;
  /** Each key once. */
  readonly states: AsyncIterable<StateEntry> | Iterable<StateEntry>;
}

/** Methods throw ONLINE_STORE_UNAVAILABLE (retryable) when the store does not answer. */
export interface OnlineStore {
  /** One round trip, whatever the number of views and keys. */
  read(refs: readonly StateRef[]): Promise<StatesRead>;
  /**
   * Feeds a batch; the part that the cursor is past is left out.
   * @throws RangeError when the cursor lies before `fromSeqExclusive`: events in between would be lost
   */
  apply(request: ApplyRequest): Promise<ApplyResult>;
  /** Puts `states` and `cursor` in place of all the view has, at once for every reader. @returns the number of states */
  replaceAll(request: ReplaceRequest): Promise<number>;
  /** Null: the view was never fed. */
  cursor(viewId: string): Promise<ViewCursor | null>;
}
