/** The ways to change a view, made of a store's `snapshot` and `commit`: read, compute, write if nobody else has, else again. */
import { SerinError } from '../../domain/errors.ts';
import type { Micros } from '../../domain/time.ts';
import {
  type Change,
  type Entry,
  type OnlineStore,
  type PartRef,
  shadowIdOf,
  type ViewCursor,
  type ViewSnapshot,
} from './online-store.ts';

export interface ApplyRequest {
  readonly viewId: string;
  readonly source: string;
  /** The batch holds every event of the source in (fromSeqExclusive, toSeq]. */
  readonly fromSeqExclusive: number;
  readonly toSeq: number;
  /** Touched states are folded up to here; the fold point of a view never moves back. Null: not moved. */
  readonly foldTo: Micros | null;
  /** Most of the keys that `change` will read, so that they come with the cursor in one round trip. */
  readonly expected?: readonly PartRef[];
  /**
   * The changes that the events after `view.appliedSeq` make. Called again when another writer was faster: it must depend on
   * what it reads alone.
   */
  readonly change: (view: ViewInTurn) => Promise<readonly Change[]>;
}

export interface ViewInTurn {
  /** Events up to here are in the states. */
  readonly appliedSeq: number;
  /** To fold the touched states to. */
  readonly foldTo: Micros | null;
  readonly read: (refs: readonly PartRef[]) => Promise<readonly (Uint8Array | null)[]>;
}

export interface ApplyResult {
  /** False when all of the batch had been applied before. */
  readonly applied: boolean;
  readonly cursor: ViewCursor;
}

/**
 * Feeds a batch; the part that the cursor is past is left out.
 * @throws RangeError when the cursor lies before `fromSeqExclusive`: events in between would be lost
 */
export async function applyGuarded(store: OnlineStore, request: ApplyRequest): Promise<ApplyResult> {
  const { viewId, source, fromSeqExclusive, toSeq, expected = [] } = request;
  return untilCommitted(viewId, async () => {
    const snapshot = await store.snapshot(viewId, expected);
    const standing = snapshot.cursor ?? { source, appliedSeq: 0, foldedAt: null };
    if (standing.appliedSeq >= toSeq) return { applied: false, cursor: standing };
    if (standing.appliedSeq < fromSeqExclusive) {
      throw new RangeError(
        `${viewId} has events up to ${standing.appliedSeq}; a batch from ${fromSeqExclusive} on would leave a gap`,
      );
    }
    const foldedAt = latest(standing.foldedAt, request.foldTo);
    const changes = await request.change({
      appliedSeq: standing.appliedSeq,
      foldTo: foldedAt,
      read: readerOf(store, viewId, expected, snapshot),
    });
    const cursor: ViewCursor = { source, appliedSeq: toSeq, foldedAt };
    const committed = await store.commit({ viewId, revision: snapshot.revision, cursor, changes });
    return committed ? { applied: true, cursor } : null;
  });
}

/** Changes rows of a view and leaves its cursor: to take a key away, or to take one out of an index. */
export async function editGuarded(
  store: OnlineStore,
  viewId: string,
  refs: readonly PartRef[],
  edit: (bytes: readonly (Uint8Array | null)[], cursor: ViewCursor | null) => readonly Change[],
): Promise<void> {
  await untilCommitted(viewId, async () => {
    const { revision, cursor, bytes } = await store.snapshot(viewId, refs);
    const changes = edit(bytes, cursor);
    if (changes.length === 0) return true;
    return (await store.commit({ viewId, revision, cursor, changes })) ? true : null;
  });
}

export interface ReplaceRequest {
  readonly viewId: string;
  readonly cursor: ViewCursor;
  /** Each key once. */
  readonly entries: AsyncIterable<Entry> | Iterable<Entry>;
  /** Names the shadow; one that was left behind under this name is taken away first. */
  readonly label: string;
}

/**
 * Puts `entries` and `cursor` in place of all the view has, at once for every reader: a shadow is filled beside it and takes
 * its place. Fails or dies half-way: the view is as it was. @returns the number of entries
 */
export async function replaceAll(
  store: OnlineStore,
  { viewId, cursor, entries, label }: ReplaceRequest,
): Promise<number> {
  const shadow = shadowIdOf(viewId, label);
  await dropAll(store, shadow);
  let written = 0;
  for await (const chunk of chunksOf(entries)) {
    await putEntries(store, shadow, chunk, cursor);
    written += chunk.length;
  }
  if (written === 0) await putEntries(store, shadow, [], cursor);
  await store.exchange(viewId, shadow);
  await dropAll(store, shadow);
  return written;
}

/** Writes entries of a shadow and its cursor; writing them again changes nothing. For views that nobody else writes meanwhile. */
export async function putEntries(
  store: OnlineStore,
  shadowId: string,
  entries: readonly Entry[],
  cursor: ViewCursor,
): Promise<void> {
  await untilCommitted(shadowId, async () => {
    const { revision } = await store.snapshot(shadowId, []);
    return (await store.commit({ viewId: shadowId, revision, cursor, changes: entries })) ? true : null;
  });
}

export async function dropAll(store: OnlineStore, viewId: string): Promise<void> {
  while ((await store.drop(viewId, CHUNK_ENTRIES)) === CHUNK_ENTRIES);
}

export const CHUNK_ENTRIES = 5_000;
export const CHUNK_BYTES = 8 * 1024 * 1024;

/** Cuts entries into pieces that one commit carries well. */
export async function* chunksOf(
  entries: AsyncIterable<Entry> | Iterable<Entry>,
  entriesMax = CHUNK_ENTRIES,
): AsyncGenerator<Entry[]> {
  let chunk: Entry[] = [];
  let bytes = 0;
  for await (const entry of entries) {
    chunk.push(entry);
    bytes += entry.bytes.byteLength;
    if (bytes < CHUNK_BYTES && chunk.length < entriesMax) continue;
    yield chunk;
    [chunk, bytes] = [[], 0];
  }
  if (chunk.length > 0) yield chunk;
}

/** Writers of a view are few (a streamer, its successor, a workflow); each lost race is another's progress. */
const RACES_MAX = 100;

async function untilCommitted<T>(viewId: string, attempt: () => Promise<T | null>): Promise<T> {
  for (let race = 0; race < RACES_MAX; race++) {
    const result = await attempt();
    if (result !== null) return result;
  }
  throw new SerinError(
    'ONLINE_STORE_UNAVAILABLE',
    `other writers of ${viewId} were faster ${RACES_MAX} times in a row; the batch was not applied`,
  );
}

function readerOf(
  store: OnlineStore,
  viewId: string,
  expected: readonly PartRef[],
  snapshot: ViewSnapshot,
): ViewInTurn['read'] {
  return async (refs) => {
    if (refs === expected) return snapshot.bytes;
    if (refs.length === 0) return [];
    return (await store.snapshot(viewId, refs)).bytes;
  };
}

function latest(a: Micros | null, b: Micros | null): Micros | null {
  if (a === null || b === null) return a ?? b;
  return Math.max(a, b);
}
