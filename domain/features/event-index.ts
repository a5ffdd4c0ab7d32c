/**
 * Which rows a source's log has: files of sorted 128-bit ids, so that a push is held against all of the log without a table
 * that grows beside it. They cost 16 bytes a row on disk and are read one page per id and file.
 *
 * A file is its ids (16 bytes each, big-endian, ascending, no two equal), then the fences: the first 8 bytes of every page of
 * `PAGE_IDS` ids. A reader keeps the fences (8 bytes per 4 KiB).
 */
import type { BlobRef } from '../blob.ts';

export interface EventIndexFile {
  readonly blob: BlobRef;
  /** At least 1. */
  readonly ids: number;
}

export interface EventIndex {
  /** Those of the ids (UUID texts in lower case) that are in one of the files. */
  stored(files: readonly EventIndexFile[], ids: readonly string[]): Promise<ReadonlySet<string>>;
}

export const ID_BYTES = 16;
/** Ids of a page: 4 KiB. */
export const PAGE_IDS = 256;
export const FENCE_BYTES = 8;

export function pagesOf(ids: number): number {
  return Math.ceil(ids / PAGE_IDS);
}

/** A source has at most about this many index files: a new one is merged with the smaller ones when there are more. */
export const INDEX_FILES_MAX = 8;

/**
 * Which files to merge into one, the smallest first; none while there are few. A file is rewritten only together with others
 * of at least half its size, so an id is written about log₂ of their number times.
 */
export function planIndexMerge(files: readonly EventIndexFile[]): readonly EventIndexFile[] {
  if (files.length <= INDEX_FILES_MAX) return [];
  const ascending = files.toSorted((a, b) => a.ids - b.ids || (a.blob.sha256 < b.blob.sha256 ? -1 : 1));
  const merged: EventIndexFile[] = [];
  let ids = 0;
  for (const file of ascending) {
    if (merged.length >= 2 && file.ids > 2 * ids) break;
    merged.push(file);
    ids += file.ids;
  }
  return merged;
}
