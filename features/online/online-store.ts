/**
 * Where the states of feature views lie for serving: one row of bytes per (view, key), and one cursor per view that says up
 * to which ingest sequence events are in it. A store knows bytes only; what they mean is the business of the kernels
 * (`apply-events.ts` writes them, `features/reader` reads them).
 *
 * What every implementation guarantees, and `test/integration/online-store-suite.ts` checks:
 * - **Guarded.** A `commit` takes effect when the view is at the revision it was made from, else not at all, and its states
 *   and the cursor change together. So an event takes part once, whatever is retried, repeated or run twice at a time.
 * - **Nothing half-done.** A reader sees the states of a view and its cursor before a commit or after it, never between.
 * - **As written.** Bytes come back as they went in, keys are compared byte by byte; a key of no bytes is a key.
 *
 * How to write another one: docs/guides/another-online-store.md.
 */
import type { Micros } from '../../domain/time.ts';

export interface StateRef {
  /** `name@version`, or a shadow of it (`shadowIdOf`). */
  readonly viewId: string;
  /** As `encodeKey` writes it. */
  readonly key: Uint8Array;
}

export interface StatesRead {
  /** One per reference, in their order (the same bytes object for the same key); null: the key has no state. */
  readonly states: readonly (Uint8Array | null)[];
  /**
   * Per view of the references: the last ingest sequence of its source that these states contain, from the snapshot that
   * they are of. Views never fed are absent.
   */
  readonly knownSeq: ReadonlyMap<string, number>;
  /**
   * Per view, from the same snapshot: its fold point. A key without a state may have had one that no read at or after the fold
   * point can see, so its absence says something from there on only. Views of which nothing is folded are absent.
   */
  readonly foldedAt: ReadonlyMap<string, Micros>;
}

export interface ViewCursor {
  readonly source: string;
  readonly appliedSeq: number;
  /** States that were written since are folded up to here, and reads of them must be at or after it; null: nothing is folded. */
  readonly foldedAt: Micros | null;
}

/** A view holds two kinds of rows: states by key, and for sources whose rows may move between keys an index of rows. */
export type Part = 'states' | 'rows';

export interface PartRef {
  readonly part: Part;
  readonly key: Uint8Array;
}

export interface Change extends PartRef {
  /** Null deletes. */
  readonly bytes: Uint8Array | null;
}

export interface Entry extends PartRef {
  readonly bytes: Uint8Array;
}

/** What a view is at, for a commit to be made from it. */
export interface ViewSnapshot {
  /** Grows with every change of the view; 0: it was never written. */
  readonly revision: number;
  /** Null: never fed. */
  readonly cursor: ViewCursor | null;
  /** One per reference. */
  readonly bytes: readonly (Uint8Array | null)[];
}

export interface Commit {
  readonly viewId: string;
  /** Of the snapshot that the changes were made from. */
  readonly revision: number;
  /** Null leaves the view without one, which only a view that was never fed can be. */
  readonly cursor: ViewCursor | null;
  /** Each (part, key) once. */
  readonly changes: readonly Change[];
}

/** Methods throw ONLINE_STORE_UNAVAILABLE (retryable) when the store does not answer. */
export interface OnlineStore {
  /** One round trip, whatever the number of views and keys. */
  read(refs: readonly StateRef[]): Promise<StatesRead>;
  /** Of the views that were ever fed. One round trip. */
  cursors(viewIds: readonly string[]): Promise<ReadonlyMap<string, ViewCursor>>;
  /** The bytes may be newer than the revision, never older: a commit from this snapshot then fails. */
  snapshot(viewId: string, refs: readonly PartRef[]): Promise<ViewSnapshot>;
  /** @returns false, with nothing written, when the view is not at that revision any more */
  commit(commit: Commit): Promise<boolean>;
  /** Exchanges all that two views have, cursors included, at once for every reader. Both get a new revision. */
  exchange(viewId: string, otherId: string, guard?: ExchangeGuard): Promise<boolean>;
  /**
   * Takes away rows of a view, at most `limit`, and when none is left its cursor; for views that nobody feeds or reads any more.
   * @returns how many were taken away; less than `limit`: the view is gone
   */
  drop(viewId: string, limit: number): Promise<number>;
  /** All that a view has, in no order. Rows that are written meanwhile may be in it or not. */
  dump(viewId: string): AsyncIterable<Entry>;
}

export interface ExchangeGuard {
  /** Refuses (returns false, changes nothing) while `otherId` has fewer events than `viewId`. */
  readonly notBehind: boolean;
  /** Refuses when `otherId` is not at this revision: an exchange that is asked for again is not undone. */
  readonly otherRevision?: number;
}

/** The id of a second copy of a view, which is filled, fed and read like any view until it takes the view's place. */
export function shadowIdOf(viewId: string, label: string): string {
  return `${viewId}~${label}`;
}

/** `name@version` of a view or of a shadow of it. */
export function viewOfShadow(viewId: string): string {
  const at = viewId.indexOf('~');
  return at < 0 ? viewId : viewId.slice(0, at);
}
