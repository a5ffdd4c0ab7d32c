/** Rows of a source as facts for the keys of one view, in the order in which they come. */
import type { Instant } from '../../../../domain/instant.ts';
import type { Datum, Fact } from '../../../../features/history/fact.ts';
import { factOf, markerOf } from '../../../../features/history/history.ts';
import type { HistoryPlan } from '../../../../features/history/plan.ts';
import { routeVersion } from '../../../../features/history/row-index.ts';
import { encodeKey } from '../../../../features/kernel/key-encoding.ts';
import type { Value } from '../../../../domain/project/expression.ts';
import type { WorldRow, WorldSource } from '../case-sources.ts';

export interface Arrival {
  readonly fact: Fact;
  /** When the row that brings the fact becomes known: the fact itself may have been known before, for another key. */
  readonly comesAt: Instant;
}

export type KeyText = string;

/** Null: a part is null, and the key is nobody's. */
export function keyText(parts: HistoryPlan['keyParts'], values: readonly Datum[]): KeyText | null {
  return encodeKey(parts, values as readonly Value[])?.toString('hex') ?? null;
}

/** @param rows of the source, in any order */
export function arrivalsByKey(
  plan: HistoryPlan,
  source: WorldSource,
  rows: readonly WorldRow[],
): Map<KeyText, Arrival[]> {
  const byKey = new Map<KeyText, Arrival[]>();
  const indexes = new Map<string, Uint8Array>();
  const bring = (key: KeyText, fact: Fact, comesAt: Instant): void => {
    const arrivals = byKey.get(key);
    if (arrivals === undefined) byKey.set(key, [{ fact, comesAt }]);
    else arrivals.push({ fact, comesAt });
  };
  for (const row of rows) {
    const values = plan.keyColumns.map((column) => row.row[column]!);
    const key = keyText(plan.keyParts, values);
    const { kind, eventAt, availableAt, seq } = row;
    const identity = source.identity === 'row_id' ? (row.row['row'] as string | null) : String(seq);
    if (plan.identity !== 'row_id' || kind === 'tombstone') {
      if (key !== null) bring(key, factOf(plan, row.row, { kind, eventAt, availableAt, seq, identity }), availableAt);
      continue;
    }
    const version = { key: key === null ? null : Buffer.from(key, 'hex'), availableAt, seq, kind };
    const routing = routeVersion(indexes.get(identity!) ?? null, version);
    indexes.set(identity!, routing.index);
    for (const { key: target, fact } of routing.additions) {
      bring(
        Buffer.from(target).toString('hex'),
        fact === 'self'
          ? factOf(plan, row.row, { kind, eventAt, availableAt, seq, identity })
          : markerOf(identity!, fact),
        availableAt,
      );
    }
  }
  return byKey;
}
