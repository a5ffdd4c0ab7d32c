import type { Calibration } from './calibration.ts';

/**
 * Isotonic regression by pooling adjacent violators. Rows of one score are one point with their mean label; a block of equal
 * probabilities keeps its two ends, and between blocks the probability rises on a straight line (as scikit-learn's
 * `IsotonicRegression` does), since steps would make ties of what the model tells apart.
 *
 * Probabilities stay within [1/(n + 2), (n + 1)/(n + 2)] (Laplace's rule of succession): n rows do not prove a 0 or a 1, and
 * one row that came out otherwise would cost an infinite log loss.
 *
 * Source: Zadrozny & Elkan, KDD 2002; Ayer et al., Ann. Math. Stat. 26 (1955). Golden values: test/golden/calibration.json.
 * @param y 0 or 1 per row  @param scores one per row, none NaN
 */
export function fitIsotonic(
  y: ArrayLike<number>,
  scores: ArrayLike<number>,
): Extract<Calibration, { method: 'isotonic' }> {
  const rows = y.length;
  const points = pointsByScore(y, scores);
  const least = 1 / (rows + 2);
  const means = pool(points.labelSum, points.rows).map((mean) => Math.min(Math.max(mean, least), 1 - least));
  const kept = means.map((mean, i) => mean !== means[i - 1] || mean !== means[i + 1]);
  return {
    method: 'isotonic',
    scores: points.score.filter((_, i) => kept[i]),
    probabilities: means.filter((_, i) => kept[i]),
    rows,
  };
}

interface Points {
  readonly score: number[];
  readonly labelSum: number[];
  readonly rows: number[];
}

/** Distinct scores, ascending. */
function pointsByScore(y: ArrayLike<number>, scores: ArrayLike<number>): Points {
  const order = Uint32Array.from({ length: y.length }, (_, row) => row).sort((a, b) => scores[a]! - scores[b]!);
  const points: Points = { score: [], labelSum: [], rows: [] };
  for (const row of order) {
    const last = points.score.length - 1;
    if (last >= 0 && points.score[last] === scores[row]) {
      points.labelSum[last]! += y[row]!;
      points.rows[last]! += 1;
    } else {
      points.score.push(scores[row]!);
      points.labelSum.push(y[row]!);
      points.rows.push(1);
    }
  }
  return points;
}

/**
 * The mean of the block each point ends up in. Sums of labels and rows are whole numbers, so blocks are compared exactly:
 * a/b > c/d as a·d > c·b.
 */
function pool(labelSum: readonly number[], rows: readonly number[]): number[] {
  const sum: number[] = [];
  const count: number[] = [];
  const points: number[] = [];
  for (let i = 0; i < labelSum.length; i++) {
    sum.push(labelSum[i]!);
    count.push(rows[i]!);
    points.push(1);
    for (let top = sum.length - 1; top > 0 && sum[top - 1]! * count[top]! >= sum[top]! * count[top - 1]!; top--) {
      sum[top - 1]! += sum.pop()!;
      count[top - 1]! += count.pop()!;
      points[top - 1]! += points.pop()!;
    }
  }
  return sum.flatMap((total, block) => new Array<number>(points[block]!).fill(total / count[block]!));
}
