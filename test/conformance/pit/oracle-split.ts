/** Rule 14 of `shared/conformance/pit/README.md`, row by row. */
import type { Datum } from '../../../features/history/fact.ts';
import type { CaseSplit } from './case-types.ts';
import { readTimeValue } from './case-values.ts';

export function splitOracle(
  split: CaseSplit,
  rows: readonly (readonly Datum[])[],
  asOf: number,
  group: number | null,
): string[] {
  const start = BigInt(readTimeValue(split.testStart, 'test_start'));
  const end = BigInt(readTimeValue(split.testEnd, 'test_end'));
  const [gap, horizon, delay, embargo] = [split.gap, split.horizon, split.delay, split.embargo].map(BigInt) as [
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  const at = (row: readonly Datum[]): bigint => BigInt(row[asOf] as number | bigint);
  const isTest = (row: readonly Datum[]): boolean => start <= at(row) && at(row) < end;
  return rows.map((row) => {
    const t = at(row);
    if (isTest(row)) return 'TEST';
    if (t < start && t + gap + horizon + delay > start) return 'PURGED';
    if (t >= end && t < end + gap + horizon) return 'PURGED';
    if (t >= end && t < end + gap + horizon + embargo) return 'EMBARGOED';
    if (group === null || row[group] === null) return 'TRAIN';
    return rows.some((other) => isTest(other) && Object.is(other[group], row[group])) ? 'GROUP_PURGED' : 'TRAIN';
  });
}
