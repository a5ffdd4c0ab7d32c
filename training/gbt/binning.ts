import type { TrainingMatrix } from '../matrix.ts';

/** Bin numbers fit a byte: 0 is missing, 1 … 255 are value bins. */
export const BINS = 256;
/** Bins are packed four to a word, and a row is padded to 16 bytes, so that it never straddles more cache lines than it must. */
const ROW_BYTES = 16;
/** Quantiles of a sample this large are exact to a fraction of a bin. */
const SAMPLE_ROWS = 200_000;

export interface BinnedRows {
  readonly rows: number;
  readonly wordsPerRow: number;
  /** Column c of row r is byte c mod 4 (lowest first) of word r·wordsPerRow + ⌊c / 4⌋. */
  readonly words: Uint32Array;
}

/**
 * Upper edges of the value bins of each column, ascending: bin 1 holds values ≤ edge 0, bin k + 1 those in
 * (edge k − 1, edge k], the last bin the rest. Edges are single precision, like the values they will be compared with
 * when served. A column with at most `maxBins` distinct values has an edge between each two of them; others have bins of
 * about equal numbers of rows.
 */
export function findEdges(
  { x, columns }: TrainingMatrix,
  rows: Uint32Array,
  maxBins: number,
  seed: number,
): Float32Array[] {
  const sample = sampleRows(rows, seed);
  return columns.map((_, column) => {
    const values = new Float32Array(sample.length);
    let present = 0;
    for (const row of sample) {
      const value = x[row * columns.length + column]!;
      if (!Number.isNaN(value)) values[present++] = value;
    }
    return edgesOf(values.subarray(0, present).sort(), maxBins);
  });
}

/** @param sorted ascending, no NaN */
export function edgesOf(sorted: Float32Array, maxBins: number): Float32Array {
  const starts = runStarts(sorted);
  const every = starts.length <= maxBins;
  const edges: number[] = [];
  let remaining = sorted.length;
  let taken = 0;
  for (let run = 1; run < starts.length && edges.length < maxBins - 1; run++) {
    const start = starts[run]!;
    taken += start - starts[run - 1]!;
    // The share is of what is left, so that a heavy value takes one bin and not the bins of the others.
    if (!every && taken < remaining / (maxBins - edges.length)) continue;
    edges.push(between(sorted[start - 1]!, sorted[start]!));
    remaining -= taken;
    taken = 0;
  }
  return Float32Array.from(edges);
}

export function binRows({ x, columns }: TrainingMatrix, rows: Uint32Array, edges: readonly Float32Array[]): BinnedRows {
  const width = columns.length;
  const wordsPerRow = (Math.ceil(width / ROW_BYTES) * ROW_BYTES) / 4;
  const words = new Uint32Array(rows.length * wordsPerRow);
  for (const [column, columnEdges] of edges.entries()) {
    const shift = (column & 3) * 8;
    for (let row = 0, at = column >> 2; row < rows.length; row++, at += wordsPerRow)
      words[at]! |= binOf(x[rows[row]! * width + column]!, columnEdges) << shift;
  }
  return { rows: rows.length, wordsPerRow, words };
}

/** 0 for missing, else 1 + the number of edges below the value. */
export function binOf(value: number, edges: Float32Array): number {
  if (Number.isNaN(value)) return 0;
  let low = 0;
  let high = edges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (edges[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low + 1;
}

/** First positions of each distinct value. */
function runStarts(sorted: Float32Array): number[] {
  const starts: number[] = [];
  for (let at = 0; at < sorted.length; at++) if (at === 0 || sorted[at] !== sorted[at - 1]) starts.push(at);
  return starts;
}

/** A single-precision number m with a ≤ m < b: the middle, or `a` where the middle rounds up to b or is not a number. */
function between(a: number, b: number): number {
  const middle = Math.fround((a + b) / 2);
  return middle >= a && middle < b ? middle : a;
}

/** Evenly spaced rows from a start that the seed chooses: rows come in time order, so every season is in the sample. */
function sampleRows(rows: Uint32Array, seed: number): Uint32Array {
  if (rows.length <= SAMPLE_ROWS) return rows;
  const spacing = rows.length / SAMPLE_ROWS;
  const offset = (Math.imul(seed ^ 0x9e37_79b9, 0x85eb_ca6b) >>> 0) / 2 ** 32;
  return Uint32Array.from({ length: SAMPLE_ROWS }, (_, index) => rows[Math.floor((index + offset) * spacing)]!);
}
