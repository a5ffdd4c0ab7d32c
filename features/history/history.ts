/**
 * The history of one key of one view: the facts that reads at or after its fold point can need, whatever order they came in.
 *
 * What is read depends on the set of facts alone, and so do the encoded bytes, with the fold point. Two things are asked of
 * whoever adds facts. A fact that has been folded into tiles must not come again (the store's cursor sees to it; one that
 * is still there is recognised by its sequence). And rows that can move (identity `row_id`) come through `routeVersion` of
 * `row-index.ts`, which repeats newer versions when an older one is late: so folding may forget rows that are over.
 *
 * How much is kept, at most: an append-only view keeps the facts in its exact windows, one fact for each `latest` output
 * and a tile for each hop; a view with corrections every row within its windows and TTL (without a TTL, or with a window
 * over all of the past: every row there is), and beyond them the newest `EXPIRED_KEPT` rows and as many that each `latest`
 * output could show, so that `expired` is told from `not_found` unless that many expired rows are all retracted.
 */
import type { Datum, Fact, FactKind } from './fact.ts';
import type { Instant } from '../../domain/instant.ts';
import { type KeyHistory, SETTLE_LEAST } from './key-history.ts';
import type { HistoryPlan } from './plan.ts';
import { pruneFacts, pruneTombstones } from './pruning.ts';
import { cutOf, insertByPosition, isWithin } from './selection.ts';
import { addToTile, dropTiles, isTiled } from './tiles.ts';

export { createHistory, type KeyHistory, resetHistory } from './key-history.ts';
export { type HistoryRead, readHistory } from './read-history.ts';

/** A row of the view's source as a fact. @param row source columns, whole numbers and instants in the form of `Instant` */
export function factOf(
  plan: HistoryPlan,
  row: Readonly<Record<string, Datum>>,
  at: { kind: FactKind; eventAt: Instant; availableAt: Instant; seq: number; identity: string | null },
): Fact {
  const { kind, eventAt, availableAt, seq } = at;
  return {
    kind,
    // where rows can move, a retract is about the row whatever its time
    eventAt: kind === 'retract' && plan.identity === 'row_id' ? availableAt : eventAt,
    availableAt,
    seq,
    identity: plan.identity === 'row_id' && kind !== 'tombstone' ? at.identity : null,
    values: kind === 'put' ? plan.slots.map((slot) => slot.read(row)) : NO_VALUES,
  };
}

const NO_VALUES: readonly Datum[] = [];

/** The mark of a row's version that is elsewhere (`routeVersion`): from then on the row is not here. */
export function markerOf(identity: string, { availableAt, seq }: Pick<Fact, 'availableAt' | 'seq'>): Fact {
  return { kind: 'retract', eventAt: availableAt, availableAt, seq, identity, values: NO_VALUES };
}

/** Takes in one fact. @throws RangeError for a fact that the view's source cannot have */
export function addFact(plan: HistoryPlan, history: KeyHistory, fact: Fact): void {
  if (fact.kind === 'tombstone') {
    if (plan.appendOnly) throw new RangeError(`${plan.id}: its source has no tombstones`);
    if (insertByPosition(history.tombstones, fact)) history.settled = false;
    return;
  }
  if (plan.identity === 'row_id') {
    if (fact.identity === null) throw new RangeError(`${plan.id}: rows that can move have an identity`);
    history.addVersion(
      fact.kind === 'retract' && fact.eventAt !== fact.availableAt ? { ...fact, eventAt: fact.availableAt } : fact,
    );
    history.settled = false;
    return;
  }
  if (fact.kind === 'retract' && plan.identity === 'append')
    throw new RangeError(`${plan.id}: its source has no retracts`);
  if (!insertByPosition(history.facts, fact)) return;
  history.settled = false;
  for (const window of history.sliding.values()) window.add(fact);
  const { settledTo } = history;
  if (settledTo === null) return;
  plan.tileSets.forEach((set, i) => {
    if (isTiled(set, fact, settledTo)) addToTile(plan, history, i, fact);
  });
}

/**
 * Moves the fold point to `at`, never back: what no read at `asOf ≥ at` can need may be dropped, and is when so much has
 * come that it pays, or when the history is encoded.
 */
export function foldHistory(plan: HistoryPlan, history: KeyHistory, at: Instant): void {
  if (history.foldedAt !== null && at <= history.foldedAt) return;
  history.foldedAt = at;
  history.settled = false;
  if (history.facts.length >= history.settleFrom) settle(plan, history);
}

/** Puts what is known at the fold point into tiles and drops what is over. */
export function settle(plan: HistoryPlan, history: KeyHistory): void {
  if (history.settled || history.foldedAt === null) return;
  const cut = cutOf(plan, history.foldedAt);
  const before = history.settledTo;
  plan.tileSets.forEach((set, i) => {
    for (const fact of history.facts) {
      if (fact.eventAt > cut) break;
      if (isTiled(set, fact, cut) && (before === null || !isTiled(set, fact, before)))
        addToTile(plan, history, i, fact);
    }
  });
  history.settledTo = cut;
  pruneTombstones(plan, history, cut);
  pruneFacts(plan, history, cut);
  plan.tileSets.forEach((set, i) => dropTiles(set, history.tiles[i]!, cut));
  if (history.newestTiled !== null && !isWithin(history.newestTiled, plan.windowReach, cut)) history.newestTiled = null;
  history.settled = true;
  history.settleFrom = Math.max(SETTLE_LEAST, 2 * history.facts.length);
}

/** Whether nothing is left that a read at `asOf ≥ at` could see, which then is what a key without history gives. */
export function isSpentHistory(plan: HistoryPlan, history: KeyHistory, at: Instant): boolean {
  settle(plan, history);
  if (history.facts.length > 0 || history.tombstones.length > 0) return false;
  if (history.newestTiled === null) return true;
  return !isWithin(history.newestTiled, plan.windowReach, cutOf(plan, at));
}
