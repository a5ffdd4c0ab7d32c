import { StatisticError } from './statistic-error.ts';

/** Any row of numbers: a typed array, or a plain list. NaN stands for a missing value. */
export type Numbers = ArrayLike<number>;

/** Refuses columns of different lengths; `undefined` is an optional column that was not given. */
export function checkLengths(...columns: readonly (ArrayLike<unknown> | undefined)[]): void {
  const first = columns[0]!.length;
  for (const column of columns) {
    if (column !== undefined && column.length !== first) {
      throw new StatisticError('length_mismatch', `columns of ${first} and ${column.length} rows cannot be paired`);
    }
  }
}

export function checkParameter(holds: boolean, rule: string): void {
  if (!holds) throw new StatisticError('invalid_parameter', rule);
}

export function checkProbabilityParameter(value: number, name: string): void {
  checkParameter(value > 0 && value < 1, `${name} must lie strictly between 0 and 1, got ${value}`);
}

export function checkPositiveParameter(value: number, name: string): void {
  checkParameter(value > 0 && Number.isFinite(value), `${name} must be a positive number, got ${value}`);
}

export function checkCountParameter(value: number, name: string, least = 0): void {
  checkParameter(
    Number.isSafeInteger(value) && value >= least,
    `${name} must be an integer of at least ${least}, got ${value}`,
  );
}

/** Report positions are 1-based sizes of a prefix: of the first so many rows. */
export function checkReportAt(reportAt: Numbers, length: number): void {
  for (let i = 0; i < reportAt.length; i++) {
    const at = reportAt[i]!;
    checkParameter(
      Number.isSafeInteger(at) && at >= 1 && at <= length,
      `report_at must name rows 1 to ${length}, got ${at}`,
    );
  }
}

export function checkNotEmpty(values: ArrayLike<unknown>, name: string): void {
  if (values.length === 0) throw new StatisticError('empty', `${name} has no rows`);
}

/** Refuses NaN and infinities. Rows of weight 0 do not exist, so what they hold is not looked at. */
export function checkFinite(values: Numbers, name: string, weight?: Numbers): void {
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) continue;
    if (weight !== undefined && weight[i] === 0) continue;
    throw new StatisticError('non_finite', `${name} has ${values[i]} at row ${i}`);
  }
}

export function checkBinary(values: Numbers, name: string, weight?: Numbers): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value === 0 || value === 1) continue;
    if (weight !== undefined && weight[i] === 0) continue;
    throw new StatisticError('invalid_label', `${name} must be 0 or 1, got ${value} at row ${i}`);
  }
}

export function checkUnitInterval(values: Numbers, name: string, weight?: Numbers): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value >= 0 && value <= 1) continue;
    if (weight !== undefined && weight[i] === 0) continue;
    throw new StatisticError('out_of_range', `${name} must lie in [0, 1], got ${value} at row ${i}`);
  }
}

export function checkWeights(weight: Numbers | undefined): void {
  if (weight === undefined) return;
  for (let i = 0; i < weight.length; i++) {
    const value = weight[i]!;
    if (!(value >= 0 && value < Infinity)) {
      throw new StatisticError(
        'invalid_weight',
        `a weight must be a finite number of at least 0, got ${value} at row ${i}`,
      );
    }
  }
}

/** Counts per category: at least 0 each. An impossible count is a wrong parameter; a missing one is not a number. */
export function checkCounts(counts: Numbers, name: string): void {
  for (let i = 0; i < counts.length; i++) {
    checkParameter(!(counts[i]! < 0), `${name} must not be negative, got ${counts[i]} at ${i}`);
  }
}

/** Whether any row exists: one, or with weights one whose weight is not 0. */
export function checkAnyRow(values: ArrayLike<unknown>, weight: Numbers | undefined): void {
  if (weight !== undefined) {
    for (let i = 0; i < weight.length; i++) if (weight[i] !== 0) return;
  }
  if (weight !== undefined || values.length === 0) throw new StatisticError('empty', 'there are no rows to measure');
}

/** The checks that every measure of labels against scores starts with, in the common order. */
export function checkLabelsAndScores(y: Numbers, score: Numbers, weight?: Numbers, scoreName = 'score'): void {
  checkLengths(y, score, weight);
  checkAnyRow(y, weight);
  checkFinite(y, 'y', weight);
  checkFinite(score, scoreName, weight);
  checkBinary(y, 'y', weight);
  if (scoreName === 'p') checkUnitInterval(score, 'p', weight);
  checkWeights(weight);
}

export function sum(values: Numbers): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}
