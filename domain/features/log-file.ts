import type { BlobRef } from '../blob.ts';
import type { Micros } from '../time.ts';
import { formatTime } from './time-text.ts';

/**
 * One immutable file of a source's event log: Parquet, sorted by (available_at, ingest_seq), with the columns of
 * `LOG_COLUMNS` and then the source's own (`ts` as BIGINT microseconds) as they were when it was written. It is read through
 * `features/offline/log-relation.ts` alone, which knows what older files lack.
 */
export interface LogFile {
  readonly blob: BlobRef;
  /** At least 1. */
  readonly rows: number;
  /** Inclusive, both. Ranges of files may overlap; no number is in two files of a log. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly minEventAt: Micros;
  readonly maxEventAt: Micros;
  readonly minAvailableAt: Micros;
  readonly maxAvailableAt: Micros;
  /** The partition: every `available_at` of the file lies in it. Absent in files from before partitions. */
  readonly availableOn?: Period;
}

/** `event_id` is a UUID, `op` a UTINYINT (a position in `OPERATIONS`; files from before it have only events), the others are BIGINT. */
export const LOG_COLUMNS = ['event_at', 'available_at', 'ingest_seq', 'event_id', 'op'] as const;

/** What a row does, by its number in the log: an event (or a version of one), the removal of an event, the end of all older rows of its key. */
export const OPERATIONS = ['put', 'retract', 'tombstone'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** A stretch of UTC: `2001-05-31`, `2001-05`, `2001`, or the empty text for all of time. One holds another when it is the other's beginning. */
export type Period = string;

/** Lengths of the text of a period, from the finest. */
export const PERIOD_LENGTHS = [10, 7, 4, 0] as const;
export type PeriodLength = (typeof PERIOD_LENGTHS)[number];

/** The period of a length that holds an instant (of 1684…2255). */
export function periodAt(at: Micros, length: PeriodLength): Period {
  return formatTime(at).slice(0, length);
}

/** The partition of a file; for older files the finest period that holds its range. */
export function periodOf({ availableOn, minAvailableAt, maxAvailableAt }: LogFile): Period {
  if (availableOn !== undefined) return availableOn;
  const length = PERIOD_LENGTHS.find((each) => periodAt(minAvailableAt, each) === periodAt(maxAvailableAt, each))!;
  return periodAt(minAvailableAt, length);
}
