/** Reads of one key's history: `latest` values and windows, with what became of them. */
import type { FeatureStatus } from '../kernel/view-state.ts';
import { type Accumulator, addRow } from './aggregates.ts';
import type { Fact } from './fact.ts';
import { type Instant, minus } from '../../domain/instant.ts';
import type { KeyHistory } from './key-history.ts';
import type { HistoryOutput, HistoryPlan, OutputValue, TileSet } from './plan.ts';
import { cutOf, eachLive, isWithin, takesPart, tombstoneInForce, windowAt } from './selection.ts';
import { SlidingWindow, type WindowEdges } from './sliding.ts';
import { isTiled } from './tiles.ts';

export interface HistoryRead {
  /** In the order of `plan.outputs`, the default in place of null. */
  readonly values: OutputValue[];
  /**
   * Before the default. `latest`: `present`, `null`, `expired`, `deleted` or `not_found`. Aggregates: `present`, `null`, or
   * `not_found` when no live row is within the reach of the view's windows, whatever their conditions.
   */
  readonly statuses: FeatureStatus[];
  /** Whether the value is the default. */
  readonly defaulted: boolean[];
  /** µs from `asOf` back to the row of a `latest` value (expired ones too); for aggregates to the key's newest row in reach. */
  readonly ages: (Instant | null)[];
}

/**
 * The outputs at `asOf`.
 * @param history   null: a key that has never been seen, or a null key
 * @param knownSeq  only what had been stored up to this sequence; for histories that have not been folded
 * @throws RangeError for `asOf` before the fold point
 */
export function readHistory(
  plan: HistoryPlan,
  history: KeyHistory | null,
  asOf: Instant,
  knownSeq: number = Infinity,
): HistoryRead {
  const { outputs } = plan;
  const count = outputs.length;
  const read: HistoryRead = { values: [], statuses: [], defaulted: [], ages: [] };
  for (let i = 0; i < count; i++) {
    read.values.push(null);
    read.statuses.push('not_found');
    read.defaulted.push(false);
    read.ages.push(null);
  }
  const cut = cutOf(plan, asOf);
  if (history === null) readWindows(plan, null, [], false, cut, asOf, read);
  else {
    if (history.foldedAt !== null && asOf < history.foldedAt) {
      throw new RangeError(`${plan.id}: asOf ${asOf} lies before the fold point ${history.foldedAt}`);
    }
    const ender = tombstoneInForce(history.tombstones, cut, knownSeq);
    if (ender !== null) for (const output of plan.latest) read.statuses[output] = 'deleted';
    let wanted = plan.latest.length;
    const inReach: Fact[] = [];
    const slides = plan.appendOnly && knownSeq === Infinity && history.facts.length >= history.slideFrom;
    const hasWindows = plan.readings.length > 0;
    const allSlide = slides && plan.readings.every((reading) => reading.slides);
    eachLive(plan, history, cut, knownSeq, ender, (fact) => {
      const reached = hasWindows && isWithin(fact.eventAt, plan.windowReach, cut);
      if (reached) inReach.push(fact);
      if (wanted > 0) {
        for (const output of plan.latest) {
          // those that have their row have its age
          if (read.ages[output] === null && readLatest(plan, output, fact, asOf, read)) wanted--;
        }
      }
      // one row says how old the newest is
      return (reached && !allSlide) || wanted > 0;
    });
    if (hasWindows) readWindows(plan, history, inReach, slides, cut, asOf, read);
  }
  for (let i = 0; i < count; i++) {
    const fallback = outputs[i]!.default;
    if (read.values[i] !== null || fallback === null) continue;
    read.values[i] = fallback;
    read.defaulted[i] = true;
  }
  return read;
}

/** True when this live row is the output's. */
function readLatest(plan: HistoryPlan, output: number, fact: Fact, asOf: Instant, read: HistoryRead): boolean {
  const of = plan.outputs[output]!;
  if (!takesPart(of, fact)) return false;
  const age = minus(asOf, fact.eventAt);
  const value = fact.values[of.slot]!;
  const expired = plan.ttl !== null && age > plan.ttl;
  read.ages[output] = age;
  read.statuses[output] = expired ? 'expired' : value === null ? 'null' : 'present';
  if (!expired) read.values[output] = value;
  return true;
}

/** @param inReach live rows, the newest first; the newest alone where all windows slide */
function readWindows(
  plan: HistoryPlan,
  history: KeyHistory | null,
  inReach: readonly Fact[],
  slides: boolean,
  cut: Instant,
  asOf: Instant,
  read: HistoryRead,
): void {
  const tiledTo = history?.settledTo ?? null;
  let newest = inReach[0]?.eventAt ?? null;
  const tiled = history?.newestTiled ?? null;
  if (tiled !== null && isWithin(tiled, plan.windowReach, cut) && (newest === null || tiled > newest)) newest = tiled;
  for (let r = 0; r < plan.readings.length; r++) {
    const reading = plan.readings[r]!;
    const { over, outputs, tiles } = reading;
    const { start, end } = windowAt(over, cut);
    const adding = plan.outputs[outputs[0]!]!;
    let accumulator: Accumulator;
    if (slides && history !== null && reading.slides) {
      accumulator = slide(plan, history, r, { start: start!, end, cut });
    } else {
      accumulator = plan.aggregates[outputs[0]!]!.create();
      if (tiles === null || history === null) {
        addRows(adding, inReach, accumulator, start, end, null, null);
      } else {
        const { starts, accumulators } = history.tiles[tiles.set]!;
        for (let t = starts.length - 1; t >= 0 && (start === null || starts[t]! >= start); t--) {
          accumulator.merge(accumulators[t]![tiles.field]!);
        }
        addRows(adding, inReach, accumulator, start, end, plan.tileSets[tiles.set]!, tiledTo);
      }
    }
    for (const output of outputs) {
      const value = accumulator.result(plan.outputs[output]!);
      read.values[output] = value;
      if (newest === null) continue;
      read.ages[output] = minus(asOf, newest);
      read.statuses[output] = value === null ? 'null' : 'present';
    }
  }
}

function slide(plan: HistoryPlan, history: KeyHistory, reading: number, at: WindowEdges): Accumulator {
  const known = history.sliding.get(reading);
  if (known?.moveTo(history.facts, at)) return known.accumulator;
  const output = plan.readings[reading]!.outputs[0]!;
  const made = new SlidingWindow(plan.outputs[output]!, plan.aggregates[output]!.create(), history.facts, at);
  history.sliding.set(reading, made);
  return made.accumulator;
}

function addRows(
  output: HistoryOutput,
  newestFirst: readonly Fact[],
  accumulator: Accumulator,
  start: Instant | null,
  end: Instant,
  tiledIn: TileSet | null,
  tiledTo: Instant | null,
): void {
  for (let i = 0; i < newestFirst.length; i++) {
    const fact = newestFirst[i]!;
    if (fact.eventAt > end) continue;
    if (start !== null && fact.eventAt <= start) return;
    if (tiledIn !== null && tiledTo !== null && isTiled(tiledIn, fact, tiledTo)) continue;
    addRow(output, accumulator, fact);
  }
}
