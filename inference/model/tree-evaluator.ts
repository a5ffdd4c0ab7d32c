import type { TreeEnsemble } from './tree-ensemble.ts';

export interface TreeEvaluator {
  /**
   * The sums of the leaves of each row, in float32 and in the order of the trees, as ONNX Runtime adds them.
   * @param features rows × width, row-major; NaN is missing
   */
  sums(features: Float32Array, rows: number, width: number): Float32Array;
}

/**
 * `x ≤ edge` holds just when the number of edges below x is at most the edge's rank, so a row is turned into these counts
 * once and the trees compare whole numbers.
 */
export function createTreeEvaluator(ensemble: TreeEnsemble): TreeEvaluator {
  const counts = new Int32Array(ensemble.edgeStarts.length - 1);
  return {
    sums(features, rows, width) {
      const result = new Float32Array(rows);
      for (let row = 0; row < rows; row++) {
        const missing = countEdges(ensemble, counts, features, row * width);
        result[row] = missing ? sumWithMissing(ensemble, counts) : sumComplete(ensemble, counts);
      }
      return result;
    },
  };
}

// The loops are functions of the module and not closures of a model: what the compiler has learnt of them stays when a
// model is swapped, so that a new one is as quick from its first row as the old one was.

const MISSING = -1;

/** Fills `counts` with the number of edges below each feature of a row. @returns whether some value is missing */
function countEdges(
  { edges, edgeStarts }: TreeEnsemble,
  counts: Int32Array,
  features: Float32Array,
  from: number,
): boolean {
  let missing = false;
  for (let f = 0; f < counts.length; f++) {
    const x = features[from + f]!;
    if (x !== x) {
      missing = true;
      counts[f] = MISSING;
      continue;
    }
    const start = edgeStarts[f]!;
    let at = start;
    let length = edgeStarts[f + 1]! - start;
    while (length > 0) {
      const half = length >>> 1;
      const below = edges[at + half]! < x;
      at = below ? at + half + 1 : at;
      length = below ? length - half - 1 : half;
    }
    counts[f] = at - start;
  }
  return missing;
}

function sumComplete({ nodes, roots, leaves, base }: TreeEnsemble, counts: Int32Array): number {
  let sum = base;
  for (let t = 0; t < roots.length; t++) {
    let at = roots[t]! << 1;
    let test = nodes[at]!;
    while (test >= 0) {
      // the sign of (rank − count): 0 to the first child, 1 to the second
      at = (nodes[at + 1]! + (((test & 0xffff) - counts[test >> 16]!) >>> 31)) << 1;
      test = nodes[at]!;
    }
    sum = Math.fround(sum + leaves[nodes[at + 1]!]!);
  }
  return sum;
}

function sumWithMissing({ nodes, roots, leaves, base, missingSide }: TreeEnsemble, counts: Int32Array): number {
  let sum = base;
  for (let t = 0; t < roots.length; t++) {
    let at = roots[t]! << 1;
    let test = nodes[at]!;
    while (test >= 0) {
      const known = counts[test >> 16]!;
      const side = known === MISSING ? missingSide[at >> 1]! : ((test & 0xffff) - known) >>> 31;
      at = (nodes[at + 1]! + side) << 1;
      test = nodes[at]!;
    }
    sum = Math.fround(sum + leaves[nodes[at + 1]!]!);
  }
  return sum;
}

/** The logistic function in float32, as ONNX Runtime computes it for classifiers. */
export function sigmoid(sum: number): number {
  const positive = Math.fround(1 / Math.fround(1 + Math.fround(Math.exp(-Math.abs(sum)))));
  return sum < 0 ? Math.fround(1 - positive) : positive;
}
