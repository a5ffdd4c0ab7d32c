import { closeSync, openSync, readSync } from 'node:fs';
import type { BlobStore } from '../domain/blob.ts';
import {
  type EventIndex,
  type EventIndexFile,
  FENCE_BYTES,
  ID_BYTES,
  PAGE_IDS,
  pagesOf,
} from '../domain/features/event-index.ts';

/** Open files at a time; the least recently opened is closed. A source has about eight. */
const OPEN_MAX = 256;

/** Looks ids up in the index files of a log, in place: a binary search over the fences, then one page read per id and file. */
export function openEventIndex(blobs: BlobStore): EventIndex & { close(): void } {
  const open = new Map<string, OpenIndex>();
  const of = async (file: EventIndexFile): Promise<OpenIndex> => {
    const known = open.get(file.blob.sha256);
    if (known !== undefined) return known;
    const opened = openFile(await blobs.localPath(file.blob), file.ids);
    const raced = open.get(file.blob.sha256);
    if (raced !== undefined) {
      closeSync(opened.descriptor);
      return raced;
    }
    if (open.size >= OPEN_MAX) {
      const [oldest, { descriptor }] = open.entries().next().value!;
      closeSync(descriptor);
      open.delete(oldest);
    }
    open.set(file.blob.sha256, opened);
    return opened;
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
      for (const { descriptor } of open.values()) closeSync(descriptor);
      open.clear();
    },
  };
}

interface OpenIndex {
  readonly descriptor: number;
  readonly ids: number;
  /** Upper and lower half of each fence. */
  readonly high: Uint32Array;
  readonly low: Uint32Array;
}

function openFile(path: string, ids: number): OpenIndex {
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

function isIn({ descriptor, ids, high, low }: OpenIndex, id: Buffer): boolean {
  const [idHigh, idLow] = [id.readUInt32BE(0), id.readUInt32BE(4)];
  // the last page whose fence is not above the id; fences are half an id, so equal ones reach back to the pages before
  let [from, to] = [0, high.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (high[middle]! < idHigh || (high[middle] === idHigh && low[middle]! <= idLow)) from = middle + 1;
    else to = middle;
  }
  for (let at = from - 1; at >= 0; at--) {
    const bytes = readSync(
      descriptor,
      page,
      0,
      Math.min(PAGE_IDS, ids - at * PAGE_IDS) * ID_BYTES,
      at * PAGE_IDS * ID_BYTES,
    );
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
