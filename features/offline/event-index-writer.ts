/** Writes and merges the files of an event index (`domain/features/event-index.ts` says what is in them). */
import { open, type FileHandle, rm } from 'node:fs/promises';
import type { BlobStore } from '../../domain/blob.ts';
import { type EventIndexFile, FENCE_BYTES, ID_BYTES, PAGE_IDS } from '../../domain/features/event-index.ts';
import type { LogFile } from '../../domain/features/log-file.ts';
import type { SourceSpec } from '../../domain/project/spec.ts';
import type { DuckDb } from './duckdb.ts';
import { storedVersionIdSql } from './event-id-sql.ts';
import { logRelationSql } from './log-relation.ts';

/** Read and written at a time, per file. */
const CHUNK_BYTES = 1 << 20;

export interface IndexRequest {
  readonly source: SourceSpec;
  /** At least one. */
  readonly files: readonly LogFile[];
  readonly blobs: BlobStore;
  /** A working file, on the blob store's disk if that is local. */
  readonly path: string;
  /** Used by nobody else meanwhile. */
  readonly duckdb: DuckDb;
}

/** The version ids of all rows of the files. The same rows give the same bytes. */
export async function indexLogFiles({ source, files, blobs, path, duckdb }: IndexRequest): Promise<EventIndexFile> {
  const paths = await Promise.all(files.map(({ blob }) => blobs.localPath(blob)));
  const rows = files.reduce((sum, file) => sum + file.rows, 0);
  const ids = `SELECT ${storedVersionIdSql(source)} AS id FROM ${logRelationSql(paths, source)} ORDER BY id`;
  return writeIndex(counted(duckdb.uuids(ids), rows), path, blobs);
}

async function* counted(chunks: AsyncIterable<Buffer>, rows: number): AsyncGenerator<Buffer> {
  let read = 0;
  for await (const chunk of chunks) {
    read += chunk.length / ID_BYTES;
    yield chunk;
  }
  // an index that lacks an id would let its row in twice
  if (read !== rows) throw new RangeError(`${read} ids came out of log files of ${rows} rows`);
}

/** One file with the ids of all of them; an id that is in several is there once. */
export async function mergeIndexFiles(
  files: readonly EventIndexFile[],
  { blobs, path }: Pick<IndexRequest, 'blobs' | 'path'>,
): Promise<EventIndexFile> {
  const cursors: IdCursor[] = [];
  try {
    for (const file of files) cursors.push(await IdCursor.open(await blobs.localPath(file.blob), file.ids));
    return await writeIndex(mergedIds(cursors), path, blobs);
  } finally {
    await Promise.all(cursors.map((cursor) => cursor.close()));
  }
}

/** Repeatedly the smallest id of few cursors, gathered into chunks. */
async function* mergedIds(cursors: readonly IdCursor[]): AsyncGenerator<Buffer> {
  let chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let filled = 0;
  for (;;) {
    let least: IdCursor | undefined;
    for (const cursor of cursors) {
      if (!cursor.done && (least === undefined || cursor.compare(least) < 0)) least = cursor;
    }
    if (least === undefined) break;
    least.copyTo(chunk, filled);
    filled += ID_BYTES;
    for (const cursor of cursors)
      if (cursor !== least && !cursor.done && cursor.compare(least) === 0) await cursor.advance();
    await least.advance();
    if (filled === chunk.length) {
      yield chunk;
      chunk = Buffer.allocUnsafe(CHUNK_BYTES);
      filled = 0;
    }
  }
  yield chunk.subarray(0, filled);
}

class IdCursor {
  readonly #file: FileHandle;
  readonly #bytes: number;
  readonly #chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  /** Of the chunk, in the file. */
  #from = 0;
  #length = 0;
  #at = 0;
  done = false;

  private constructor(file: FileHandle, ids: number) {
    this.#file = file;
    this.#bytes = ids * ID_BYTES;
  }

  static async open(path: string, ids: number): Promise<IdCursor> {
    const cursor = new IdCursor(await open(path, 'r'), ids);
    await cursor.#read();
    return cursor;
  }

  compare(other: IdCursor): number {
    return this.#chunk.compare(other.#chunk, other.#at, other.#at + ID_BYTES, this.#at, this.#at + ID_BYTES);
  }

  copyTo(target: Buffer, at: number): void {
    this.#chunk.copy(target, at, this.#at, this.#at + ID_BYTES);
  }

  async advance(): Promise<void> {
    this.#at += ID_BYTES;
    if (this.#at === this.#length) await this.#read();
  }

  async #read(): Promise<void> {
    this.#from += this.#length;
    this.#at = 0;
    const wanted = Math.min(CHUNK_BYTES, this.#bytes - this.#from);
    if (wanted === 0) {
      this.done = true;
      return;
    }
    const { bytesRead } = await this.#file.read(this.#chunk, 0, wanted, this.#from);
    if (bytesRead !== wanted)
      throw new RangeError(`an event index ends after ${this.#from + bytesRead} bytes, not ${this.#bytes}`);
    this.#length = wanted;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

/** @param chunks ascending ids, any number of whole ones at a time; equal neighbours are written once */
async function writeIndex(chunks: AsyncIterable<Buffer>, path: string, blobs: BlobStore): Promise<EventIndexFile> {
  const fences: Buffer[] = [];
  let ids = 0;
  let last: Buffer | undefined;
  const file = await open(path, 'w');
  try {
    for await (const chunk of chunks) {
      const kept = withoutRepeats(chunk, last);
      if (kept.length === 0) continue;
      const first = (PAGE_IDS - (ids % PAGE_IDS)) % PAGE_IDS;
      for (let i = first * ID_BYTES; i < kept.length; i += PAGE_IDS * ID_BYTES) {
        fences.push(Buffer.from(kept.subarray(i, i + FENCE_BYTES)));
      }
      await file.writeFile(kept);
      ids += kept.length / ID_BYTES;
      last = Buffer.from(kept.subarray(-ID_BYTES));
    }
    for (let i = 0; i < fences.length; i += CHUNK_BYTES / FENCE_BYTES) {
      await file.writeFile(Buffer.concat(fences.slice(i, i + CHUNK_BYTES / FENCE_BYTES)));
    }
  } catch (error) {
    await file.close();
    await rm(path, { force: true });
    throw error;
  }
  await file.close();
  return { blob: await blobs.putFile(path), ids };
}

/** The chunk itself unless an id equals the one before it (logs from before the index may have one twice). */
function withoutRepeats(chunk: Buffer, last: Buffer | undefined): Buffer {
  const isRepeat = (at: number): boolean =>
    at === 0
      ? last !== undefined && chunk.compare(last, 0, ID_BYTES, 0, ID_BYTES) === 0
      : chunk.compare(chunk, at - ID_BYTES, at, at, at + ID_BYTES) === 0;
  let repeats = 0;
  for (let at = 0; at < chunk.length; at += ID_BYTES) if (isRepeat(at)) repeats++;
  if (repeats === 0) return chunk;
  const kept: Buffer[] = [];
  for (let at = 0; at < chunk.length; at += ID_BYTES) if (!isRepeat(at)) kept.push(chunk.subarray(at, at + ID_BYTES));
  return Buffer.concat(kept);
}
