import type { GbtSpec } from '../../domain/training/trainer-spec.ts';
import { BINS, type BinnedRows } from './binning.ts';
import { findBestSplit, type LeafSums, leafStep, type Split } from './best-split.ts';
import { addRows, clear, emptyHistogram, type Histogram, subtract } from './histogram.ts';
import type { Tree } from './tree-ensemble.ts';

interface Leaf {
  readonly node: number;
  /** Its rows are order[begin … end), ascending. */
  readonly begin: number;
  readonly end: number;
  readonly sums: LeafSums;
  readonly histogram: Histogram | undefined;
  readonly split: Split | undefined;
}

interface Node {
  feature: number;
  bin: number;
  missingLeft: number;
  left: number;
  right: number;
  value: number;
  gain: number;
}

/** Grows trees over the same binned rows; its buffers are reused from tree to tree. */
export class TreeGrower {
  readonly #binned: BinnedRows;
  readonly #edges: readonly Float32Array[];
  readonly #binCounts: readonly number[];
  readonly #spec: GbtSpec;
  readonly #usedWords: number;
  /** Row numbers, grouped by leaf while a tree grows. */
  readonly #order: Uint32Array;
  readonly #spare: Uint32Array;
  readonly #goesLeft = new Uint8Array(BINS);
  readonly #pool: Histogram[] = [];

  constructor(binned: BinnedRows, edges: readonly Float32Array[], spec: GbtSpec) {
    this.#binned = binned;
    this.#edges = edges;
    this.#binCounts = edges.map((columnEdges) => columnEdges.length + 1);
    this.#spec = spec;
    this.#usedWords = Math.ceil(edges.length / 4);
    this.#order = new Uint32Array(binned.rows);
    this.#spare = new Uint32Array(binned.rows);
  }

  /**
   * Grows one tree, splitting the leaf with the largest gain until none gains or the spec's leaves are reached, and adds
   * its leaf values to the scores. A tree of one leaf means that nothing is left to learn.
   * @param derivatives (gradient, second derivative) per row, rounded by `gradientRounding`
   */
  grow(derivatives: Float64Array, scores: Float64Array): Tree {
    for (let row = 0; row < this.#order.length; row++) this.#order[row] = row;
    const nodes: Node[] = [emptyNode()];
    const leaves: Leaf[] = [this.#rootLeaf(derivatives)];
    while (leaves.length < this.#spec.leaves) {
      const at = indexOfLargestGain(leaves);
      if (at < 0) break;
      const needsHistograms = leaves.length + 1 < this.#spec.leaves;
      const [left, right] = this.#split(leaves[at]!, nodes, derivatives, needsHistograms);
      leaves[at] = left;
      leaves.push(right);
    }
    for (const { node, begin, end, sums, histogram } of leaves) {
      if (histogram !== undefined) this.#pool.push(histogram);
      const value = Math.fround(this.#spec.learningRate * leafStep(sums, this.#spec.l2));
      nodes[node]!.value = value;
      for (let position = begin; position < end; position++) scores[this.#order[position]!]! += value;
    }
    return toTree(nodes, this.#edges);
  }

  #rootLeaf(derivatives: Float64Array): Leaf {
    const histogram = this.#takeHistogram();
    const rows = this.#order.length;
    addRows(histogram, this.#binned, this.#usedWords, derivatives, this.#order, 0, rows);
    let gradient = 0;
    let hessian = 0;
    for (let cell = 0; cell < BINS; cell++) {
      gradient += histogram.gradients[2 * cell]!;
      hessian += histogram.gradients[2 * cell + 1]!;
    }
    return this.#leaf(0, 0, rows, { gradient, hessian, rows }, histogram);
  }

  #leaf(node: number, begin: number, end: number, sums: LeafSums, histogram: Histogram | undefined): Leaf {
    const split = histogram === undefined ? undefined : findBestSplit(histogram, sums, this.#binCounts, this.#spec);
    return { node, begin, end, sums, histogram, split };
  }

  #split(parent: Leaf, nodes: Node[], derivatives: Float64Array, needsHistograms: boolean): [Leaf, Leaf] {
    const split = parent.split!;
    const left = nodes.push(emptyNode()) - 1;
    const right = nodes.push(emptyNode()) - 1;
    Object.assign(nodes[parent.node]!, {
      feature: split.column,
      bin: split.bin,
      missingLeft: split.missingLeft ? 1 : 0,
      left,
      right,
      gain: split.gain,
    });
    const middle = this.#partition(parent, split);

    let leftHistogram: Histogram | undefined;
    let rightHistogram: Histogram | undefined;
    const larger = parent.histogram!;
    if (needsHistograms) {
      // Only the smaller child is scanned; the larger is what remains of the parent.
      const smaller = this.#takeHistogram();
      const leftIsSmaller = split.left.rows <= split.right.rows;
      const begin = leftIsSmaller ? parent.begin : middle;
      const end = leftIsSmaller ? middle : parent.end;
      addRows(smaller, this.#binned, this.#usedWords, derivatives, this.#order, begin, end);
      subtract(larger, smaller);
      leftHistogram = leftIsSmaller ? smaller : larger;
      rightHistogram = leftIsSmaller ? larger : smaller;
    } else {
      this.#pool.push(larger);
    }
    return [
      this.#leaf(left, parent.begin, middle, split.left, leftHistogram),
      this.#leaf(right, middle, parent.end, split.right, rightHistogram),
    ];
  }

  /** Moves the rows that go left before the others, both in their old order. @returns where the right side begins */
  #partition({ begin, end }: Leaf, { column, bin, missingLeft }: Split): number {
    const order = this.#order;
    const spare = this.#spare;
    const goesLeft = this.#goesLeft;
    goesLeft.fill(0);
    goesLeft.fill(1, 1, bin + 1);
    goesLeft[0] = missingLeft ? 1 : 0;
    const { words, wordsPerRow } = this.#binned;
    const word = column >> 2;
    const shift = (column & 3) * 8;
    let kept = begin;
    let moved = 0;
    // Without a branch, since which way a row goes is what no predictor knows.
    for (let position = begin; position < end; position++) {
      const row = order[position]!;
      const left = goesLeft[(words[row * wordsPerRow + word]! >>> shift) & 255]!;
      order[kept] = row;
      spare[moved] = row;
      kept += left;
      moved += 1 - left;
    }
    order.set(spare.subarray(0, moved), kept);
    return kept;
  }

  #takeHistogram(): Histogram {
    const histogram = this.#pool.pop();
    if (histogram === undefined) return emptyHistogram(this.#edges.length);
    clear(histogram);
    return histogram;
  }
}

/** Adds a tree's leaf values to the scores of binned rows. */
export function addTreeToScores(tree: Tree, { rows, words, wordsPerRow }: BinnedRows, scores: Float64Array): void {
  const { feature, bin, missingLeft, left, right, value } = tree;
  for (let row = 0, first = 0; row < rows; row++, first += wordsPerRow) {
    let node = 0;
    for (let column = feature[0]!; column >= 0; column = feature[node]!) {
      const rowBin = (words[first + (column >> 2)]! >>> ((column & 3) * 8)) & 255;
      const goesLeft = rowBin === 0 ? missingLeft[node] === 1 : rowBin <= bin[node]!;
      node = goesLeft ? left[node]! : right[node]!;
    }
    scores[row]! += value[node]!;
  }
}

function indexOfLargestGain(leaves: readonly Leaf[]): number {
  let best = -1;
  let bestGain = 0;
  for (const [index, { split }] of leaves.entries())
    if (split !== undefined && (best < 0 || split.gain > bestGain)) {
      best = index;
      bestGain = split.gain;
    }
  return best;
}

function emptyNode(): Node {
  return { feature: -1, bin: 0, missingLeft: 0, left: 0, right: 0, value: 0, gain: 0 };
}

function toTree(nodes: readonly Node[], edges: readonly Float32Array[]): Tree {
  return {
    feature: Int32Array.from(nodes, ({ feature }) => feature),
    threshold: Float32Array.from(nodes, ({ feature, bin }) => thresholdOf(edges, feature, bin)),
    bin: Uint8Array.from(nodes, ({ bin }) => bin),
    missingLeft: Uint8Array.from(nodes, ({ missingLeft }) => missingLeft),
    left: Int32Array.from(nodes, ({ left }) => left),
    right: Int32Array.from(nodes, ({ right }) => right),
    value: Float32Array.from(nodes, ({ value }) => value),
    gain: Float64Array.from(nodes, ({ gain }) => gain),
  };
}

/** The upper edge of a bin; the last bin has none. */
export function thresholdOf(edges: readonly Float32Array[], feature: number, bin: number): number {
  return feature < 0 ? 0 : (edges[feature]![bin - 1] ?? Number.POSITIVE_INFINITY);
}
