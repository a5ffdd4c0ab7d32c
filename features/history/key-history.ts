/** What is kept of one key, in memory. */
import type { Accumulator } from './aggregates.ts';
import type { Fact } from './fact.ts';
import type { Instant } from '../../domain/instant.ts';
import type { HistoryPlan } from './plan.ts';
import { insertByKnowledge, insertByPosition, type StoredRows } from './selection.ts';
import type { SlidingWindow } from './sliding.ts';

/** Below so many facts there is little to win. */
export const SETTLE_LEAST = 32;
const SLIDE_LEAST = 64;

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
