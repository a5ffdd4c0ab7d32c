import { BINS, type BinnedRows } from './binning.ts';

/**
 * Sums over a leaf's rows per (column, bin), cell column · BINS + bin.
 *
 * Gradients are rounded to multiples of one power of two before they are summed (`gradientRounding`), so every sum is
 * exact: the order of rows, the number of threads and the subtraction of a child from its parent cannot change a bit.
 */
export interface Histogram {
  /** Gradient at 2 · cell, second derivative at 2 · cell + 1. */
  readonly gradients: Float64Array;
  readonly counts: Uint32Array;
}

export function emptyHistogram(columns: number): Histogram {
  const cells = Math.ceil(columns / 4) * 4 * BINS; // whole words of bins: padding columns have cells of their own
  return { gradients: new Float64Array(2 * cells), counts: new Uint32Array(cells) };
}

/**
 * The number m for which (v + m) − m rounds |v| ≤ 1 to a multiple of 2^−(52 − L), with L such that `rows` values of that
 * kind sum to at most 2^L: the sum then fits the 53 bits of a double.
 */
export function gradientRounding(rows: number): number {
  return 1.5 * 2 ** Math.ceil(Math.log2(rows + 1));
}

/** Adds the rows `order[begin … end)`; `derivatives` holds (gradient, second derivative) per row. */
export function addRows(
  { gradients, counts }: Histogram,
  { words, wordsPerRow }: BinnedRows,
  usedWords: number,
  derivatives: Float64Array,
  order: Uint32Array,
  begin: number,
  end: number,
): void {
  for (let position = begin; position < end; position++) {
    const row = order[position]!;
    const g = derivatives[2 * row]!;
    const h = derivatives[2 * row + 1]!;
    const first = row * wordsPerRow;
    for (let word = 0, base = 0; word < usedWords; word++, base += 4 * BINS) {
      const bins = words[first + word]!;
      const a = base + (bins & 255);
      gradients[2 * a]! += g;
      gradients[2 * a + 1]! += h;
      counts[a]!++;
      const b = base + BINS + ((bins >>> 8) & 255);
      gradients[2 * b]! += g;
      gradients[2 * b + 1]! += h;
      counts[b]!++;
      const c = base + 2 * BINS + ((bins >>> 16) & 255);
      gradients[2 * c]! += g;
      gradients[2 * c + 1]! += h;
      counts[c]!++;
      const d = base + 3 * BINS + (bins >>> 24);
      gradients[2 * d]! += g;
      gradients[2 * d + 1]! += h;
      counts[d]!++;
    }
  }
}

/** Turns the parent's histogram into that of the child whose sibling is given. */
export function subtract(parent: Histogram, sibling: Histogram): void {
  for (let at = 0; at < parent.gradients.length; at++) parent.gradients[at]! -= sibling.gradients[at]!;
  for (let at = 0; at < parent.counts.length; at++) parent.counts[at]! -= sibling.counts[at]!;
}

export function clear({ gradients, counts }: Histogram): void {
  gradients.fill(0);
  counts.fill(0);
}
