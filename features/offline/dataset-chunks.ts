/** How a build is cut into pieces of bounded size, and what of it is done. */
import type { BlobRef } from '../../domain/blob.ts';
import type { KeyRange, Progress } from './dataset-job.ts';
import type { DuckDbSettings } from './duckdb.ts';

/** Events of a view that one chunk sorts: more pieces read the log more often, fewer need more memory and disk to sort. */
export const CHUNK_EVENTS = 4_000_000;
/** Questions that one chunk holds in memory, 32 bytes each. */
export const CHUNK_QUESTIONS = 4_000_000;
const MAX_CHUNKS = 256;

export interface ChunkSize {
  readonly events: number;
  readonly questions: number;
}

/** @param size of all together */
export function chunkCount(
  size: ChunkSize,
  most: ChunkSize = { events: CHUNK_EVENTS, questions: CHUNK_QUESTIONS },
): number {
  const wanted = Math.max(Math.ceil(size.events / most.events), Math.ceil(size.questions / most.questions), 1);
  return Math.min(wanted, MAX_CHUNKS);
}

/** The ids of the keys in a chunk, `[from, to)`, of `keys` in all. */
export function keysOf({ chunk, chunks }: KeyRange, keys: number): { readonly from: number; readonly to: number } {
  return { from: Math.floor((keys * chunk) / chunks), to: Math.floor((keys * (chunk + 1)) / chunks) };
}

/** Chunks of one build that are done, by name; what a later attempt goes on from. */
export interface DatasetCheckpoint {
  /** Digest of all that the chunks were made from: those of another build are of no use. */
  readonly build: string;
  readonly chunks: Readonly<Record<string, BlobRef>>;
}

/** What each of `shares` threads may use, so that all together stay within the limits. */
export function shareOf({ memory, threads, tempDir }: DuckDbSettings, shares: number): DuckDbSettings {
  const size = /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$/.exec(memory);
  return {
    memory: size === null || shares === 1 ? memory : `${Number(size[1]) / shares}${size[2]}`,
    threads: Math.max(1, Math.floor(threads / shares)),
    tempDir,
  };
}

/** Progress over steps of known weights (in rows) that may be under way at the same time; `done` never falls. */
export class WeightedProgress {
  readonly #done: number[];
  readonly #weights: readonly number[];
  readonly #onProgress: Progress | undefined;
  readonly #total: number;

  constructor(weights: readonly number[], onProgress: Progress | undefined) {
    this.#weights = weights;
    this.#done = weights.map(() => 0);
    this.#onProgress = onProgress;
    this.#total = weights.reduce((sum, weight) => sum + weight, 0);
  }

  advance(step: number, rows: number): void {
    this.#done[step] = Math.min(Math.max(rows, this.#done[step]!), this.#weights[step]!);
    this.#onProgress?.(
      this.#done.reduce((sum, done) => sum + done, 0),
      this.#total,
    );
  }

  finish(step: number): void {
    this.advance(step, this.#weights[step]!);
  }
}
