/** Accumulators in place of rows, for append-only views: windows with a hop, and windows over all of the past. */
import { addRow } from './aggregates.ts';
import type { Fact } from './fact.ts';
import { type Instant, minus } from '../../domain/instant.ts';
import type { KeyHistory, TileRun } from './key-history.ts';
import type { HistoryPlan, TileSet } from './plan.ts';
import { tileStart, windowAt } from './selection.ts';

/** Whether a fact is in the tiles of a history that was settled to that cut. */
export function isTiled({ offset }: TileSet, fact: Fact, settledTo: Instant): boolean {
  return fact.availableAt <= settledTo && fact.eventAt <= (offset === 0 ? settledTo : minus(settledTo, offset));
}

export function addToTile(plan: HistoryPlan, history: KeyHistory, set: number, fact: Fact): void {
  const { hop, fields } = plan.tileSets[set]!;
  const { starts, accumulators } = history.tiles[set]!;
  const start = hop === null ? 0 : tileStart(fact.eventAt, hop);
  let at = starts.length;
  while (at > 0 && starts[at - 1]! >= start) at--;
  if (starts[at] !== start) {
    starts.splice(at, 0, start);
    accumulators.splice(
      at,
      0,
      fields.map((output) => plan.aggregates[output]!.create()),
    );
  }
  fields.forEach((output, field) => addRow(plan.outputs[output]!, accumulators[at]![field]!, fact));
  if (history.newestTiled === null || fact.eventAt > history.newestTiled) history.newestTiled = fact.eventAt;
}

/** Drops the tiles that no window gets to at the cut or later. */
export function dropTiles({ length, hop, offset }: TileSet, { starts, accumulators }: TileRun, cut: Instant): void {
  const { start } = windowAt({ length, hop, offset }, cut);
  if (start === null) return;
  let over = 0;
  while (over < starts.length && starts[over]! < start) over++;
  if (over === 0) return;
  starts.splice(0, over);
  accumulators.splice(0, over);
}
