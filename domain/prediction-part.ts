/** Where a file of the prediction log lies among the others, as Hive would have it: `model=flight-delay/date=2026-11-21/part-7.parquet`. */
export function partPath({
  model,
  day,
  from,
}: {
  readonly model: string;
  /** UTC day of the answers. */
  readonly day: string;
  /** µs; where the range begins that its rows were recorded in. */
  readonly from: number;
}): string {
  return `model=${model}/date=${day}/part-${from}.parquet`;
}
