/** One regression tree; node 0 is the root, and the arrays are parallel. */
export interface Tree {
  /** Column a node tests; −1 in a leaf. */
  readonly feature: Int32Array;
  /** A row goes left when its value is ≤ this; +∞ separates present from missing. */
  readonly threshold: Float32Array;
  /** Last value bin that goes left: the same test on binned rows. */
  readonly bin: Uint8Array;
  /** 1: a missing value goes left. */
  readonly missingLeft: Uint8Array;
  readonly left: Int32Array;
  readonly right: Int32Array;
  /** What a leaf adds to the log odds. */
  readonly value: Float32Array;
  /** What a split improved the objective by; 0 in a leaf. */
  readonly gain: Float64Array;
}

/** score = sigmoid(base + Σ leaf values) */
export interface TreeEnsemble {
  readonly kind: 'gbt';
  readonly columns: readonly string[];
  /** Log odds of class 1 in the fitted rows, single precision. */
  readonly base: number;
  readonly trees: readonly Tree[];
}

/** Scores of class 1 in [0, 1] for row-major rows; leaf values are added in single precision in tree order, as ONNX Runtime does. */
export function scoreTrees({ trees, base, columns }: TreeEnsemble, x: Float32Array): Float32Array {
  const width = columns.length;
  const sums = new Float32Array(x.length / width);
  for (const { feature, threshold, missingLeft, left, right, value } of trees)
    for (let row = 0, at = 0; row < sums.length; row++, at += width) {
      let node = 0;
      for (let column = feature[0]!; column >= 0; column = feature[node]!) {
        const v = x[at + column]!;
        const goesLeft = v <= threshold[node]! || (missingLeft[node] === 1 && Number.isNaN(v));
        node = goesLeft ? left[node]! : right[node]!;
      }
      sums[row]! += value[node]!;
    }
  return sums.map((sum) => 1 / (1 + Math.exp(-Math.fround(sum + base))));
}

/** Total gain per column. */
export function gainPerColumn({ trees, columns }: Pick<TreeEnsemble, 'trees' | 'columns'>): Float64Array {
  const gains = new Float64Array(columns.length);
  for (const { feature, gain } of trees)
    for (let node = 0; node < feature.length; node++) if (feature[node]! >= 0) gains[feature[node]!]! += gain[node]!;
  return gains;
}
