import { type Numbers, checkCountParameter, checkLabelsAndScores, checkLengths } from './input-checks.ts';
import { rocAuc } from './roc.ts';

export interface SliceAuc {
  readonly slice: string;
  readonly n: number;
  /** null when suppressed or when the slice has one label only */
  readonly auc: number | null;
  /** fewer than the least number of rows */
  readonly suppressed: boolean;
}

/** AUC per slice, by slice name; worst is the slice of lowest AUC (ties by name), null when no slice has one. */
export function aucBySlice(
  y: Numbers,
  score: Numbers,
  slice: ArrayLike<string>,
  minN: number,
): { slices: SliceAuc[]; worst: string | null } {
  checkLengths(y, score, slice);
  checkCountParameter(minN, 'min_n');
  checkLabelsAndScores(y, score);
  const rows = new Map<string, number[]>();
  for (let i = 0; i < slice.length; i++) {
    const known = rows.get(slice[i]!);
    if (known === undefined) rows.set(slice[i]!, [i]);
    else known.push(i);
  }
  const slices = [...rows]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, of]) => measureSlice(name, of, y, score, minN));
  let worst: SliceAuc | null = null;
  for (const candidate of slices) {
    if (candidate.auc !== null && (worst === null || candidate.auc < worst.auc!)) worst = candidate;
  }
  return { slices, worst: worst === null ? null : worst.slice };
}

function measureSlice(slice: string, rows: readonly number[], y: Numbers, score: Numbers, minN: number): SliceAuc {
  const n = rows.length;
  if (n < minN) return { slice, n, auc: null, suppressed: true };
  const labels = Float64Array.from(rows, (row) => y[row]!);
  const bothLabels = labels.includes(0) && labels.includes(1);
  const auc = bothLabels
    ? rocAuc(
        labels,
        Float64Array.from(rows, (row) => score[row]!),
      )
    : null;
  return { slice, n, auc, suppressed: false };
}
