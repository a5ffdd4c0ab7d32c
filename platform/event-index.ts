import { closeSync, openSync, readSync } from 'node:fs';
import { open as openFile } from 'node:fs/promises';
import type { BlobStore } from '../domain/blob.ts';
import {
  type EventIndex,
  type EventIndexFile,
  FENCE_BYTES,
  ID_BYTES,
  PAGE_IDS,
  pagesOf,
} from '../domain/features/event-index.ts';

/** Open files at a time; the one that was opened first is closed. A source has about eight. */
const OPEN_MAX = 256;
/** Ids that filters are kept of, in all: 64 MiB. Files beyond are asked by their pages alone. */
const FILTERED_IDS_MAX = 32 * 1024 * 1024;
const FILTER_BITS_PER_ID = 16;
const READ_BYTES = 1 << 20;

/**
 * Looks ids up in the index files of a log, in place. A Bloom filter in memory says of nearly all new ids that they are new (of
 * 2.4 in a thousand it does not); for the others a binary search over the fences finds the one page to read.
 */
export function openEventIndex(blobs: BlobStore): EventIndex & { close(): void } {
  const opened = new Map<string, Promise<OpenIndex>>();
  let filteredIds = 0;

  const forget = (sha256: string): void => {
    const file = opened.get(sha256);
    opened.delete(sha256);
    void file?.then(
      (index) => {
        index.closed = true;
        if (index.filter !== null) filteredIds -= index.ids;
        closeSync(index.descriptor);
      },
      () => undefined,
    );
  };

  const openIndex = async ({ blob, ids }: EventIndexFile): Promise<OpenIndex> => {
    const path = await blobs.localPath(blob);
    const filtered = filteredIds + ids <= FILTERED_IDS_MAX;
    if (filtered) filteredIds += ids;
    try {
      const filter = filtered ? await filterOf(path, ids) : null;
      return { ...readFences(path, ids), filter, closed: false };
    } catch (error) {
      if (filtered) filteredIds -= ids;
      throw error;
    }
  };

  const of = async (file: EventIndexFile): Promise<OpenIndex> => {
    for (;;) {
      let known = opened.get(file.blob.sha256);
      if (known === undefined) {
        if (opened.size >= OPEN_MAX) forget(opened.keys().next().value!);
        known = openIndex(file);
        opened.set(file.blob.sha256, known);
        known.catch(() => opened.delete(file.blob.sha256));
      }
      const index = await known;
      if (!index.closed) return index;
    }
  };

  return {
    async stored(files, ids) {
      const found = new Set<string>();
      if (files.length === 0) return found;
      const wanted = ids.map((id) => ({ id, bytes: Buffer.from(id.replaceAll('-', ''), 'hex') }));
      for (const file of files) {
        // from here to the next file nothing is awaited, so that the file stays open
        const index = await of(file);
        for (const { id, bytes } of wanted) if (isIn(index, bytes)) found.add(id);
      }
      return found;
    },
    close() {
      for (const sha256 of opened.keys()) forget(sha256);
    },
  };
}

interface OpenIndex {
  readonly descriptor: number;
  readonly ids: number;
  /** Upper and lower half of each fence. */
  readonly high: Uint32Array;
  readonly low: Uint32Array;
  readonly filter: Filter | null;
  closed: boolean;
}

/** A Bloom filter of 4 hashes: the four words of an id, which is a hash itself. */
interface Filter {
  readonly bits: Uint8Array;
  /** Their number is a power of two; this is one less. */
  readonly mask: number;
}

async function filterOf(path: string, ids: number): Promise<Filter> {
  const size = 2 ** Math.max(3, Math.ceil(Math.log2(ids * FILTER_BITS_PER_ID)));
  const filter: Filter = { bits: new Uint8Array(size / 8), mask: size - 1 };
  const file = await openFile(path, 'r');
  try {
    const chunk = Buffer.allocUnsafe(Math.min(READ_BYTES, ids * ID_BYTES));
    for (let from = 0; from < ids * ID_BYTES; from += chunk.length) {
      const wanted = Math.min(chunk.length, ids * ID_BYTES - from);
      const { bytesRead } = await file.read(chunk, 0, wanted, from);
      if (bytesRead !== wanted) throw new RangeError(`${path} is no event index of ${ids} ids`);
      for (let at = 0; at < wanted; at += 4) {
        const bit = (chunk.readUInt32BE(at) & filter.mask) >>> 0;
        filter.bits[bit >>> 3]! |= 1 << (bit & 7);
      }
    }
  } finally {
    await file.close();
  }
  return filter;
}

function mayHave({ bits, mask }: Filter, id: Buffer): boolean {
  for (let at = 0; at < ID_BYTES; at += 4) {
    const bit = (id.readUInt32BE(at) & mask) >>> 0;
    if ((bits[bit >>> 3]! & (1 << (bit & 7))) === 0) return false;
  }
  return true;
}

function readFences(path: string, ids: number): Pick<OpenIndex, 'descriptor' | 'ids' | 'high' | 'low'> {
  const descriptor = openSync(path, 'r');
  const pages = pagesOf(ids);
  const fences = Buffer.alloc(pages * FENCE_BYTES);
  if (readSync(descriptor, fences, 0, fences.length, ids * ID_BYTES) !== fences.length) {
    closeSync(descriptor);
    throw new RangeError(`${path} is no event index of ${ids} ids`);
  }
  const [high, low] = [new Uint32Array(pages), new Uint32Array(pages)];
  for (let page = 0; page < pages; page++) {
    high[page] = fences.readUInt32BE(page * FENCE_BYTES);
    low[page] = fences.readUInt32BE(page * FENCE_BYTES + 4);
  }
  return { descriptor, ids, high, low };
}

const page = Buffer.alloc(PAGE_IDS * ID_BYTES);

function isIn({ descriptor, ids, high, low, filter }: OpenIndex, id: Buffer): boolean {
  if (filter !== null && !mayHave(filter, id)) return false;
  const [idHigh, idLow] = [id.readUInt32BE(0), id.readUInt32BE(4)];
  // the last page whose fence is not above the id; fences are half an id, so equal ones reach back to the pages before
  let [from, to] = [0, high.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (high[middle]! < idHigh || (high[middle] === idHigh && low[middle]! <= idLow)) from = middle + 1;
    else to = middle;
  }
  for (let at = from - 1; at >= 0; at--) {
    const wanted = Math.min(PAGE_IDS, ids - at * PAGE_IDS) * ID_BYTES;
    const bytes = readSync(descriptor, page, 0, wanted, at * PAGE_IDS * ID_BYTES);
    if (bytes !== wanted) throw new RangeError(`an event index of ${ids} ids lacks its page ${at}`);
    if (pageHas(bytes, id)) return true;
    if (high[at] !== idHigh || low[at] !== idLow) return false;
  }
  return false;
}

function pageHas(bytes: number, id: Buffer): boolean {
  let [from, to] = [0, bytes / ID_BYTES];
  while (from < to) {
    const middle = (from + to) >>> 1;
    const order = page.compare(id, 0, ID_BYTES, middle * ID_BYTES, (middle + 1) * ID_BYTES);
    if (order === 0) return true;
    if (order < 0) from = middle + 1;
    else to = middle;
  }
  return false;
}
