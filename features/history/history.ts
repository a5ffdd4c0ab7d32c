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
 * over all of the past: every row there is), and the newest `EXPIRED_KEPT` rows beyond, so that `expired` is told from
 * `not_found` unless that many expired rows are all retracted.
 */
import type { FeatureStatus } from '../kernel/view-state.ts';
import { type Accumulator, addRow } from './aggregates.ts';
import type { Datum, Fact, FactKind } from './fact.ts';
import { type Instant, minus } from './instant.ts';
import type { HistoryOutput, HistoryPlan, OutputValue, TileSet } from './plan.ts';
import { pruneFacts, pruneTombstones } from './pruning.ts';
import {
  cutOf,
  eachLive,
  insertByKnowledge,
  insertByPosition,
  type StoredRows,
  takesPart,
  tileStart,
  tombstoneInForce,
  windowAt,
} from './selection.ts';
import { SlidingWindow, type WindowEdges } from './sliding.ts';

/** Tiles of one set by their start (one of no start for all of the past), each with one accumulator per field. */
export interface TileRun {
  readonly starts: Instant[];
  readonly accumulators: Accumulator[][];
}

export class KeyHistory implements StoredRows {
  /** No read is before this; null: nothing has been folded. */
  foldedAt: Instant | null = null;
  /** The cut up to which facts are in tiles and what was over has been dropped; null: never. At most the fold point's. */
  settledTo: Instant | null = null;
  facts: Fact[] = [];
  tombstones: Fact[] = [];
  /** Each row has one fact, where rows have versions. */
  single = false;
  readonly tiles: TileRun[];
  /** The newest `eventAt` in tiles. */
  newestTiled: Instant | null = null;
  /** Nothing has come since, or been folded. */
  settled = true;
  /** So many facts and the next fold settles. */
  settleFrom = SETTLE_LEAST;
  /** From so many facts on, windows slide from read to read. */
  slideFrom = SLIDE_LEAST;
  /** By position in `plan.readings`, as of the last read. */
  readonly sliding = new Map<number, SlidingWindow>();
  #versions: Map<string, Fact[]> | null = null;

  constructor(tileSets: number) {
    this.tiles = [];
    for (let i = 0; i < tileSets; i++) this.tiles.push({ starts: [], accumulators: [] });
  }

  versionsOf(identity: string): readonly Fact[] {
    return this.#rows().get(identity) ?? [];
  }

  /** A version of a row that can move. The same version as a row and as a mark of its having moved is the row. */
  addVersion(fact: Fact): void {
    this.single = false;
    const rows = this.#rows();
    const versions = rows.get(fact.identity!);
    if (!versions) rows.set(fact.identity!, [fact]);
    else if (!insertByKnowledge(versions, fact)) {
      const same = versions.findIndex(({ seq }) => seq === fact.seq);
      if (versions[same]!.kind === fact.kind || fact.kind !== 'put') return;
      this.facts.splice(this.facts.indexOf(versions[same]!), 1);
      versions[same] = fact;
    }
    insertByPosition(this.facts, fact);
  }

  /** @param single what is known of them: each row has one */
  replaceFacts(facts: Fact[], single = false): void {
    this.facts = facts;
    this.sliding.clear();
    this.single = single;
    this.#versions = null;
  }

  #rows(): Map<string, Fact[]> {
    if (this.#versions) return this.#versions;
    this.#versions = new Map();
    for (const fact of this.facts) {
      const versions = this.#versions.get(fact.identity!);
      if (versions) insertByKnowledge(versions, fact);
      else this.#versions.set(fact.identity!, [fact]);
    }
    return this.#versions;
  }
}

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

export function createHistory(plan: HistoryPlan): KeyHistory {
  return new KeyHistory(plan.tileSets.length);
}

/** Empties a history, for replays that go through one key after the other. */
export function resetHistory(history: KeyHistory): void {
  history.foldedAt = history.settledTo = history.newestTiled = null;
  history.replaceFacts([]);
  history.tombstones = [];
  history.settled = true;
  history.settleFrom = SETTLE_LEAST;
  for (const { starts, accumulators } of history.tiles) starts.length = accumulators.length = 0;
}

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

/** Below so many facts there is little to win. */
const SETTLE_LEAST = 32;
const SLIDE_LEAST = 64;

function dropTiles({ length, hop, offset }: TileSet, { starts, accumulators }: TileRun, cut: Instant): void {
  const { start } = windowAt({ length, hop, offset }, cut);
  if (start === null) return;
  let over = 0;
  while (over < starts.length && starts[over]! < start) over++;
  if (over === 0) return;
  starts.splice(0, over);
  accumulators.splice(0, over);
}

/** Whether nothing is left that a read at `asOf ≥ at` could see, which then is what a key without history gives. */
export function isSpentHistory(plan: HistoryPlan, history: KeyHistory, at: Instant): boolean {
  settle(plan, history);
  if (history.facts.length > 0 || history.tombstones.length > 0) return false;
  if (history.newestTiled === null) return true;
  return !isWithin(history.newestTiled, plan.windowReach, cutOf(plan, at));
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

/** Whether a fact is in the tiles of a history that was settled to that cut. */
function isTiled({ offset }: TileSet, fact: Fact, settledTo: Instant): boolean {
  return fact.availableAt <= settledTo && fact.eventAt <= (offset === 0 ? settledTo : minus(settledTo, offset));
}

function addToTile(plan: HistoryPlan, history: KeyHistory, set: number, fact: Fact): void {
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

/** Whether an instant is less than a reach before the cut; a reach of null is without end, one of 0 empty. */
function isWithin(at: Instant, reach: Instant | null, cut: Instant): boolean {
  return reach === null || at > minus(cut, reach);
}
