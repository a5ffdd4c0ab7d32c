import type { GbtSpec } from '../../domain/training/trainer-spec.ts';
import { BINS } from './binning.ts';
import type { Histogram } from './histogram.ts';

/** Sums over a leaf's rows. */
export interface LeafSums {
  readonly gradient: number;
  readonly hessian: number;
  readonly rows: number;
}

export interface Split {
  readonly column: number;
  /** Last value bin that goes left. */
  readonly bin: number;
  readonly missingLeft: boolean;
  readonly gain: number;
  readonly left: LeafSums;
  readonly right: LeafSums;
}

/**
 * The split that improves the second-order objective most:
 *
 *   gain = G_L²/(H_L + l2) + G_R²/(H_R + l2) − G²/(H + l2)
 *
 * Source: Chen and Guestrin, "XGBoost" (2016), eq. 7, without the factor ½. Columns are tried in order, bins upward,
 * missing right before missing left; a later split must be better, so equal gains go to the smallest (column, bin).
 * A column without missing values in the leaf sends those to come the way of most rows.
 * @param binCounts value bins per column
 * @returns undefined when no split satisfies the spec's limits
 */
export function findBestSplit(
  { gradients, counts }: Histogram,
  leaf: LeafSums,
  binCounts: readonly number[],
  { l2, minRowsPerLeaf, minHessianPerLeaf, minGain }: GbtSpec,
): Split | undefined {
  if (leaf.rows < 2 * minRowsPerLeaf) return undefined;
  const parentScore = leafScore(leaf.gradient, leaf.hessian, l2);
  let bestGain = minGain;
  let bestColumn = -1;
  let bestBin = 0;
  let bestMissingLeft = false;
  let best = { gradient: 0, hessian: 0, rows: 0 };

  for (const [column, bins] of binCounts.entries()) {
    const first = column * BINS;
    const missing = counts[first]!;
    for (let side = 0; side < (missing > 0 ? 2 : 1); side++) {
      const missingLeft = side === 1;
      let gradient = missingLeft ? gradients[2 * first]! : 0;
      let hessian = missingLeft ? gradients[2 * first + 1]! : 0;
      let rows = missingLeft ? missing : 0;
      // With missing values on the right, all present ones on the left is a split too.
      const last = missing > 0 && !missingLeft ? bins : bins - 1;
      for (let bin = 1; bin <= last; bin++) {
        const cell = first + bin;
        rows += counts[cell]!;
        gradient += gradients[2 * cell]!;
        hessian += gradients[2 * cell + 1]!;
        if (rows < minRowsPerLeaf || hessian < minHessianPerLeaf) continue;
        const rightHessian = leaf.hessian - hessian;
        if (leaf.rows - rows < minRowsPerLeaf || rightHessian < minHessianPerLeaf) break;
        const gain =
          leafScore(gradient, hessian, l2) + leafScore(leaf.gradient - gradient, rightHessian, l2) - parentScore;
        if (gain > bestGain) {
          bestGain = gain;
          bestColumn = column;
          bestBin = bin;
          bestMissingLeft = missing > 0 ? missingLeft : 2 * rows >= leaf.rows;
          best = { gradient, hessian, rows };
        }
      }
    }
  }
  if (bestColumn < 0) return undefined;
  return {
    column: bestColumn,
    bin: bestBin,
    missingLeft: bestMissingLeft,
    gain: bestGain,
    left: best,
    right: {
      gradient: leaf.gradient - best.gradient,
      hessian: leaf.hessian - best.hessian,
      rows: leaf.rows - best.rows,
    },
  };
}

/** Newton's step −G/(H + l2): 0 where there is no curvature to divide by. */
export function leafStep({ gradient, hessian }: LeafSums, l2: number): number {
  return hessian + l2 > 0 ? -gradient / (hessian + l2) : 0;
}

function leafScore(gradient: number, hessian: number, l2: number): number {
  return hessian + l2 > 0 ? (gradient * gradient) / (hessian + l2) : 0;
}
