/**
 * The selection rule (`conformance/pit/README.md`, rules 3–5 and 7): which rows exist at an instant, and which of them an
 * output may use. This is the only place in TypeScript that decides it; offline replay and online reads both come here.
 *
 *   cut          `asOf`, for an exclusive view a microsecond earlier; it rules both clocks
 *   standing     of the versions of a row known at the cut, the one with the greatest (availableAt, seq); a standing
 *                retract means there is no such row
 *   in force     a tombstone that is known and has happened at the cut
 *   live         a standing row that has happened at the cut and whose position is not below the greatest tombstone in force
 */
import type { Fact } from './fact.ts';
import { type Instant, minus } from '../../domain/instant.ts';
import { compareKnowledge, comparePositions } from './order.ts';
import type { HistoryOutput, HistoryPlan, HistoryWindow } from './plan.ts';

/** What selection reads of a key: facts and tombstones, each by position. */
export interface StoredRows {
  readonly facts: readonly Fact[];
  readonly tombstones: readonly Fact[];
  /** No row has a second fact, so a fact that is known stands. */
  readonly single: boolean;
  /** The facts of a row, by (availableAt, seq); for plans whose identity is `row_id`. */
  versionsOf(identity: string): readonly Fact[];
}

export function cutOf({ boundary }: Pick<HistoryPlan, 'boundary'>, asOf: Instant): Instant {
  return boundary === 'inclusive' ? asOf : minus(asOf, 1);
}

/** The greatest tombstone in force; null: none. @param knownSeq facts with a greater sequence were not stored yet */
export function tombstoneInForce(tombstones: readonly Fact[], cut: Instant, knownSeq = Infinity): Fact | null {
  for (let i = tombstones.length - 1; i >= 0; i--) {
    const tombstone = tombstones[i]!;
    if (tombstone.eventAt <= cut && isKnown(tombstone, cut, knownSeq)) return tombstone;
  }
  return null;
}

export function isKnown(
  { availableAt, seq }: Pick<Fact, 'availableAt' | 'seq'>,
  cut: Instant,
  knownSeq: number,
): boolean {
  return availableAt <= cut && seq <= knownSeq;
}

/** Goes through the live rows from the greatest position down, until `visit` returns false. */
export function eachLive(
  { identity }: Pick<HistoryPlan, 'identity'>,
  stored: StoredRows,
  cut: Instant,
  knownSeq: number,
  ender: Fact | null,
  visit: (fact: Fact) => boolean,
): void {
  const { facts } = stored;
  const mayBeOld = identity === 'row_id' && !stored.single;
  /** Time of the row whose standing version has been met, for `key_event`: its other versions come next and are smaller. */
  let decided: Instant | null = null;
  for (let i = happenedBy(facts, cut) - 1; i >= 0; i--) {
    const fact = facts[i]!;
    if (ender !== null && comparePositions(fact, ender) < 0) return;
    if (!isKnown(fact, cut, knownSeq)) continue;
    if (identity === 'key_event') {
      if (fact.eventAt === decided) continue;
      decided = fact.eventAt;
    } else if (mayBeOld && standingOf(stored.versionsOf(fact.identity!), cut, knownSeq) !== fact) continue;
    if (fact.kind === 'put' && !visit(fact)) return;
  }
}

/** Of the versions of one row, by (availableAt, seq), the one that stands. */
export function standingOf(versions: readonly Fact[], cut: Instant, knownSeq: number): Fact | undefined {
  for (let i = versions.length - 1; i >= 0; i--) if (isKnown(versions[i]!, cut, knownSeq)) return versions[i];
  return undefined;
}

/** Whether a live row can be an output's value or part of it, but for the window: its condition holds, its group is not null. */
export function takesPart({ where, by, slot, nulls, fn }: HistoryOutput, { values }: Fact): boolean {
  if (where >= 0 && values[where] !== true) return false;
  if (by >= 0 && values[by] === null) return false;
  return fn !== 'latest' || nulls === 'keep' || values[slot] !== null;
}

/** `(start, end]`; start null: all of the past. A hop moves the start down to a multiple of it. */
export function windowAt(
  { length, hop, offset }: HistoryWindow,
  cut: Instant,
): { start: Instant | null; end: Instant } {
  const end = minus(cut, offset);
  if (length === null) return { start: null, end };
  const start = minus(end, length);
  return { start: hop === null ? start : minus(start, modulo(start, hop)), end };
}

/** Start of the tile `(start, start + hop]` that an instant is in. */
export function tileStart(at: Instant, hop: number): Instant {
  const past = modulo(at, hop);
  return minus(at, past === 0 ? hop : past);
}

/** How many facts have happened by then: those before that position. */
export function happenedBy(facts: readonly Fact[], at: Instant): number {
  let low = 0;
  let high = facts.length;
  // reads are mostly after everything
  if (high > 0 && facts[high - 1]!.eventAt <= at) return high;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (facts[middle]!.eventAt <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Puts a fact where its position is; false when one with that very position is there. */
export function insertByPosition(facts: Fact[], fact: Fact): boolean {
  return insert(facts, fact, comparePositions);
}

export function insertByKnowledge(versions: Fact[], fact: Fact): boolean {
  return insert(versions, fact, compareKnowledge);
}

function insert(facts: Fact[], fact: Fact, compare: (a: Fact, b: Fact) => number): boolean {
  let low = 0;
  let high = facts.length;
  // facts mostly come in order
  if (high > 0 && compare(facts[high - 1]!, fact) < 0) low = high;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = compare(facts[middle]!, fact);
    if (order === 0) return false;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  if (low === facts.length) facts.push(fact);
  else facts.splice(low, 0, fact);
  return true;
}

function modulo(at: Instant, by: number): number {
  if (typeof at === 'number') return ((at % by) + by) % by;
  const size = BigInt(by);
  return Number(((at % size) + size) % size);
}

/** Whether an instant is less than a reach before the cut; a reach of null is without end, one of 0 empty. */
export function isWithin(at: Instant, reach: Instant | null, cut: Instant): boolean {
  return reach === null || at > minus(cut, reach);
}
