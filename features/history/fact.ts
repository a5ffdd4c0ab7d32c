/**
 * What a key's history is made of. A fact is one stored row of a source as one view sees it; the rules that choose among
 * facts are those of `conformance/pit/README.md` and live in `selection.ts` alone.
 */
import type { Instant } from '../../domain/instant.ts';

/**
 * One value. `i64` and `ts`: a number where safe, a bigint beyond (see `Instant`); `f64`: any number, NaN and the infinities
 * included, −0 stored as 0; null: no value.
 */
export type Datum = null | boolean | number | bigint | string;

/** What is known of one row at a time: `put` says that it exists, `retract` that it does not; a tombstone ends a key's older rows. */
export type FactKind = 'put' | 'retract' | 'tombstone';

export interface Fact {
  readonly kind: FactKind;
  /** When it is true. */
  readonly eventAt: Instant;
  /** When it became known. */
  readonly availableAt: Instant;
  /** Ingest sequence, unique in its source: a fact with a sequence that is already there is a retry and changes nothing. */
  readonly seq: number;
  /** Facts with one identity are versions of one logical row; null: this fact is a row by itself. */
  readonly identity: string | null;
  /** One per slot of the plan; empty for retracts and tombstones. */
  readonly values: readonly Datum[];
}
