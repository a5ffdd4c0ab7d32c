import type { BlobRef } from '../blob.ts';
import type { Micros } from '../time.ts';

/**
 * One immutable file of a source's event log: Parquet, sorted by (available_at, ingest_seq), with the columns of
 * `LOG_COLUMNS` and then the source's own (`ts` as BIGINT microseconds).
 */
export interface LogFile {
  readonly blob: BlobRef;
  /** At least 1. */
  readonly rows: number;
  /** Inclusive, both; numbers in between may be missing (quarantined rows), but belong to no other file. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly minEventAt: Micros;
  readonly maxEventAt: Micros;
  readonly minAvailableAt: Micros;
  readonly maxAvailableAt: Micros;
}

/** `event_id` is a UUID, the others are BIGINT. */
export const LOG_COLUMNS = ['event_at', 'available_at', 'ingest_seq', 'event_id'] as const;
