/** A row of a source on its way into views. */
import type { Value } from '../../domain/project/expression.ts';
import type { KeyPart } from '../../domain/project/spec.ts';
import type { Micros } from '../../domain/time.ts';
import type { Datum, FactKind } from '../history/fact.ts';
import type { Instant } from '../../domain/instant.ts';
import { encodeKey } from '../kernel/key-encoding.ts';
import type { ViewInTurn } from './guarded-write.ts';
import type { Change, PartRef } from './online-store.ts';

/** A row of a source's log or buffer. */
export interface PushedEvent {
  readonly seq: number;
  readonly eventAt: Instant;
  readonly availableAt: Instant;
  /** The sender's clock at the push; the fold point follows the latest of them. Null does not move it. */
  readonly clockAt: Micros | null;
  readonly row: Readonly<Record<string, Datum>>;
  /** Absent: an event. */
  readonly kind?: FactKind;
  /** Rows with the same one are versions of one row; only sources with revisions need it. */
  readonly eventId?: string;
}

/** What the events of a batch do to a view. */
export interface Feed {
  /** What `change` reads first. */
  readonly expected: readonly PartRef[];
  readonly change: (view: ViewInTurn) => Promise<readonly Change[]>;
}

/** @returns null for a row with a null key part, which belongs to no entity */
export function keyOfRow(
  { keyColumns, keyParts }: { readonly keyColumns: readonly string[]; readonly keyParts: readonly KeyPart[] },
  row: PushedEvent['row'],
): Uint8Array | null {
  return encodeKey(keyParts, keyColumns.map((name) => row[name] ?? null) as readonly Value[]);
}
