/** What a history may forget: rows that no read at or after the cut can use, whatever facts are still to come. */
import type { Fact } from './fact.ts';
import type { KeyHistory } from './key-history.ts';
import { type Instant, minus } from '../../domain/instant.ts';
import { comparePositions } from './order.ts';
import type { HistoryPlan, TileSet } from './plan.ts';
import { isWithin, standingOf, takesPart, tombstoneInForce } from './selection.ts';

/** Rows that a view with corrections keeps beyond its windows and TTL, as many again that each `latest` output could show: they tell `expired` from `not_found`. */
export const EXPIRED_KEPT = 64;

/** Of the tombstones in force only the greatest matters. One that only ends rows out of reach does not, but for the status of `latest`. */
export function pruneTombstones(plan: HistoryPlan, history: KeyHistory, cut: Instant): void {
  const greatest = tombstoneInForce(history.tombstones, cut);
  if (greatest === null) return;
  const over = plan.latest.length === 0 && !isWithin(greatest.eventAt, plan.horizon, cut);
  history.tombstones = history.tombstones.filter(
    (tombstone) =>
      (tombstone === greatest && !over) ||
      tombstone.eventAt > cut ||
      (tombstone.availableAt > cut && comparePositions(tombstone, greatest) > 0),
  );
}

export function pruneFacts(plan: HistoryPlan, history: KeyHistory, cut: Instant): void {
  const ender = tombstoneInForce(history.tombstones, cut);
  const kept =
    plan.identity === 'append'
      ? appended(plan, history.facts, cut, ender)
      : plan.identity === 'key_event'
        ? corrected(plan, history.facts, cut, ender)
        : moving(plan, history, cut, ender);
  if (kept.length < history.facts.length) history.replaceFacts(kept);
}

/**
 * Rows by themselves: those in windows that are not kept in tiles (or not yet), and for each `latest` output the greatest
 * row that it could show now, with those above it that are still to be seen. What ends that row ends all below it.
 */
function appended(plan: HistoryPlan, facts: readonly Fact[], cut: Instant, ender: Fact | null): Fact[] {
  const kept: Fact[] = [];
  let wanted = plan.latest;
  for (let i = facts.length - 1; i >= 0; i--) {
    const fact = facts[i]!;
    if (ender !== null && comparePositions(fact, ender) < 0) break;
    const candidateOf = wanted.filter((output) => takesPart(plan.outputs[output]!, fact));
    const isSeen = fact.eventAt <= cut && fact.availableAt <= cut;
    if (isSeen && candidateOf.length > 0) wanted = wanted.filter((output) => !candidateOf.includes(output));
    if (
      candidateOf.length > 0 ||
      isWithin(fact.eventAt, plan.factReach, cut) ||
      plan.tileSets.some((set) => isToBeTiled(set, fact, cut))
    ) {
      kept.push(fact);
    }
  }
  return kept.toReversed();
}

/** Versions that share their time: those not known yet and of those known the last, unless all of the row is over. */
function corrected(plan: HistoryPlan, facts: readonly Fact[], cut: Instant, ender: Fact | null): Fact[] {
  const kept: Fact[] = [];
  const expired = new ExpiredRows(plan);
  // what ends a version ends all below it
  const first = ender === null ? 0 : facts.findIndex((fact) => comparePositions(fact, ender) > 0);
  for (let i = facts.length - 1; i >= first && first >= 0;) {
    const { eventAt } = facts[i]!;
    const row: Fact[] = [];
    let hasStanding = false;
    for (; i >= first && facts[i]!.eventAt === eventAt; i--) {
      const fact = facts[i]!;
      const isKnown = fact.availableAt <= cut;
      if (!isKnown || !hasStanding) row.push(fact);
      hasStanding ||= isKnown;
    }
    if (!isWithin(eventAt, plan.horizon, cut) && !expired.keeps(row)) continue;
    kept.push(...row);
  }
  return kept.toReversed();
}

/** Versions that may differ in time: what is not known yet, and of what is known the standing rows that are not over. */
function moving(plan: HistoryPlan, history: KeyHistory, cut: Instant, ender: Fact | null): Fact[] {
  const kept: Fact[] = [];
  const expired = new ExpiredRows(plan);
  for (let i = history.facts.length - 1; i >= 0; i--) {
    const fact = history.facts[i]!;
    if (fact.availableAt <= cut) {
      if (fact.kind === 'retract' || (ender !== null && comparePositions(fact, ender) < 0)) continue;
      if (standingOf(history.versionsOf(fact.identity!), cut, Infinity) !== fact) continue;
      if (!isWithin(fact.eventAt, plan.horizon, cut) && !expired.keeps([fact])) continue;
    }
    kept.push(fact);
  }
  return kept.toReversed();
}

/** Rows beyond the reach of a view, counted from the newest down, in all and by the `latest` outputs that could show them. */
class ExpiredRows {
  readonly #plan: HistoryPlan;
  readonly #shown: number[];
  #rows = 0;

  constructor(plan: HistoryPlan) {
    this.#plan = plan;
    this.#shown = plan.latest.map(() => 0);
  }

  /** @param versions of one row */
  keeps(versions: readonly Fact[]): boolean {
    const { latest, outputs } = this.#plan;
    if (latest.length === 0) return false;
    let isKept = ++this.#rows <= EXPIRED_KEPT;
    latest.forEach((output, i) => {
      if (!versions.some((fact) => fact.kind === 'put' && takesPart(outputs[output]!, fact))) return;
      if (++this.#shown[i]! <= EXPIRED_KEPT) isKept = true;
    });
    return isKept;
  }
}

/** Whether a fact will enter a set's tiles later, and not in vain. */
function isToBeTiled({ length, hop, offset }: TileSet, fact: Fact, cut: Instant): boolean {
  if (fact.availableAt <= cut && fact.eventAt <= minus(cut, offset)) return false;
  return length === null || fact.eventAt > minus(minus(minus(cut, offset), length), hop ?? 0);
}
