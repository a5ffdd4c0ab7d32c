import type { ColumnStatistics } from '../../domain/features/dataset-manifest.ts';
import { binCounts, referenceEdges } from '../../domain/statistics/psi.ts';

const BASELINE_BINS = 10;

/** @param values NaN is null; the others are finite */
export function columnStatistics(feature: string, values: Float64Array): ColumnStatistics {
  const present = withoutNulls(values);
  const nulls = values.length - present.length;
  const shared = { feature, rows: values.length, nulls, nullRate: values.length === 0 ? 0 : nulls / values.length };
  if (present.length === 0) {
    return { ...shared, mean: null, standardDeviation: null, min: null, max: null, edges: [], counts: [0] };
  }
  let min = Infinity;
  let max = -Infinity;
  let sum = 0;
  for (let i = 0; i < present.length; i++) {
    const value = present[i]!;
    sum += value;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  const mean = sum / present.length;
  // two passes: the difference of large sums of squares would lose the digits that matter
  let squares = 0;
  for (let i = 0; i < present.length; i++) {
    const difference = present[i]! - mean;
    squares += difference * difference;
  }
  const edges = referenceEdges(present, BASELINE_BINS);
  return {
    ...shared,
    mean,
    standardDeviation: present.length < 2 ? null : Math.sqrt(squares / (present.length - 1)),
    min,
    max,
    edges: [...edges],
    counts: [...binCounts(present, edges).counts],
  };
}

function withoutNulls(values: Float64Array): Float64Array {
  const present = new Float64Array(values.length);
  let count = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value === value) present[count++] = value;
  }
  return present.subarray(0, count);
}
