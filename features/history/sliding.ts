/**
 * Exact windows that move forward: where a history of many rows is asked again and again at later and later instants, as in
 * a replay, what entered and what left since the last read is added and taken away instead of adding up the whole window.
 * Only for append-only views, and for aggregates that are sums (`Accumulator.remove`), which are exact and so the same
 * bits on every way to them.
 */
import { type Accumulator, addRow } from './aggregates.ts';
import type { Fact } from './fact.ts';
import type { Instant } from '../../domain/instant.ts';
import type { HistoryOutput } from './plan.ts';
import { happenedBy, takesPart } from './selection.ts';

/** Of facts with `start < eventAt ≤ end`, by position, those known at the cut. */
export class SlidingWindow {
  readonly accumulator: Accumulator;
  readonly #output: HistoryOutput;
  #start: Instant;
  #end: Instant;
  #cut: Instant;
  /** Within the window and not known yet. */
  #late: Fact[] = [];

  constructor(output: HistoryOutput, accumulator: Accumulator, facts: readonly Fact[], at: WindowEdges) {
    this.accumulator = accumulator;
    this.#output = output;
    this.#start = this.#end = at.start;
    this.#cut = at.cut;
    this.#enter(facts, at);
  }

  /** A fact that came since the last read. */
  add(fact: Fact): void {
    if (fact.eventAt > this.#start && fact.eventAt <= this.#end) this.#take(fact);
  }

  /** Moves on; false when the window would move back. @param facts all that were there at the last read, and those that came */
  moveTo(facts: readonly Fact[], at: WindowEdges): boolean {
    if (at.cut < this.#cut || at.start < this.#start || at.end < this.#end) return false;
    for (let i = happenedBy(facts, this.#start); i < facts.length; i++) {
      const fact = facts[i]!;
      if (fact.eventAt > at.start || fact.eventAt > this.#end) break;
      if (fact.availableAt <= this.#cut) this.#remove(fact);
    }
    this.#start = at.start;
    if (this.#end < at.start) this.#end = at.start;
    this.#cut = at.cut;
    const late = this.#late;
    if (late.length > 0) {
      this.#late = [];
      for (const fact of late) this.add(fact);
    }
    this.#enter(facts, at);
    return true;
  }

  #enter(facts: readonly Fact[], { end }: WindowEdges): void {
    for (let i = happenedBy(facts, this.#end); i < facts.length && facts[i]!.eventAt <= end; i++) this.#take(facts[i]!);
    this.#end = end;
  }

  #take(fact: Fact): void {
    if (fact.availableAt <= this.#cut) addRow(this.#output, this.accumulator, fact);
    else this.#late.push(fact);
  }

  #remove(fact: Fact): void {
    const { slot } = this.#output;
    if (takesPart(this.#output, fact)) this.accumulator.remove!(slot < 0 ? true : fact.values[slot]!);
  }
}

export interface WindowEdges {
  readonly start: Instant;
  readonly end: Instant;
  readonly cut: Instant;
}
