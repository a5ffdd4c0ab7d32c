/** What is asked, and when: a fifth of the reads lie within a microsecond of an instant at which an answer may change. */
import { MICROS_PER_HOUR, MICROS_PER_MINUTE, type Micros } from '../../../domain/time.ts';
import { type ReadKeys, type SourceName, SPANS } from './definitions.ts';
import { createRandom, createZipf, type Random } from './random.ts';
import { keyOf, Tag, type World, type WorldRow } from './world.ts';

export const AIMS = ['now', 'recent', 'edge', 'hazard', 'ended', 'unknown', 'nobody', 'future', 'past'] as const;
/**
 * now: the clock; recent: before it, as far as states go back; edge: an edge of a row, −1, 0 or +1 µs; hazard: the key of a
 * row that is special; ended: one with a tombstone, however old; unknown: a key that no row has; nobody: a null key part; future and past: beyond what states are for.
 */
export type Aim = (typeof AIMS)[number];

export interface SkewRead extends ReadKeys {
  readonly asOf: Micros;
  readonly aim: Aim;
  /** How far from the edge it was aimed at: −1, 0 or 1 µs. */
  readonly off: number;
}

export const BATCH_SIZES = [1, 50, 100] as const;

const EDGE_SHARE = 0.2;
const HAZARD_SHARE = 0.14;
const UNKNOWN_SHARE = 0.05;
const NOBODY_SHARE = 0.02;
const ENDED_SHARE = 0.04;
const FUTURE_SHARE = 0.02;
const PAST_SHARE = 0.01;

const HAZARDS = [
  // the rarest ones
  Tag.Tombstone,
  Tag.Tombstone,
  Tag.Tombstone,
  Tag.AfterTombstone,
  Tag.Retract,
  Tag.KeyMove,
  Tag.TimeMove,
  Tag.Correction,
  Tag.Backfill,
  Tag.Late,
  Tag.Tie,
  Tag.NotFinite,
  Tag.Retry,
  Tag.Embargo,
];
/** How far back a hazard is still looked for; older ones have left most windows. */
const RECENT_ROWS = 40;

export class Aimer {
  readonly #world: World;
  readonly #random: Random;
  readonly #lag: Micros;
  readonly #pickRider: (random: Random) => number;
  readonly #pickSku: (random: Random) => number;
  readonly #pickDevice: (random: Random) => number;
  /** Instants at which some answer may change, ascending, and the row each comes from. */
  readonly #edgeAt: Float64Array;
  readonly #edgeRow: Uint32Array;
  /** Rows with each hazard, in the order of arrival. */
  readonly #hazards: readonly (readonly number[])[];
  /** Tombstones of the source that has latest values. */
  readonly #ends: readonly number[];

  /** @param lag how far before the clock a state can be read exactly */
  constructor(world: World, lag: Micros, stream: number) {
    this.#world = world;
    this.#random = createRandom(world.seed, stream);
    this.#lag = lag;
    this.#pickRider = createZipf(world.riders.length);
    this.#pickSku = createZipf(world.skus.length);
    this.#pickDevice = createZipf(world.devices.length);
    const edges = world.rows.flatMap((row, index) =>
      [...SPANS[row.source].map((span) => row.eventAt + span), row.availableAt].map((at) => ({ at, index })),
    );
    edges.sort((a, b) => a.at - b.at);
    this.#edgeAt = Float64Array.from(edges, ({ at }) => at);
    this.#edgeRow = Uint32Array.from(edges, ({ index }) => index);
    this.#ends = world.rows.flatMap(({ kind, source }, index) =>
      kind === 'tombstone' && source === 'prices' ? [index] : [],
    );
    this.#hazards = HAZARDS.map((tag) => world.rows.flatMap((row, index) => ((row.tags & tag) === 0 ? [] : [index])));
  }

  batchSize(): number {
    return this.#random.pick(BATCH_SIZES);
  }

  /** @param arrived rows that have been pushed  @param clock the virtual now */
  next(arrived: number, clock: Micros): SkewRead {
    const random = this.#random;
    let dice = random.unit();
    if ((dice -= EDGE_SHARE) < 0) return this.#edge(arrived, clock) ?? this.#anyone(clock, 'now');
    if ((dice -= HAZARD_SHARE) < 0) return this.#hazard(arrived, clock) ?? this.#anyone(clock, 'now');
    if ((dice -= ENDED_SHARE) < 0) return this.#ended(arrived, clock) ?? this.#anyone(clock, 'now');
    if ((dice -= UNKNOWN_SHARE) < 0) {
      const name = `nobody-${random.between(0, 999)}`;
      const keys = { rider: name, city: random.pick(this.#world.cities), sku: -random.between(2, 999), device: name };
      return { ...keys, asOf: clock, aim: 'unknown', off: 0 };
    }
    if ((dice -= NOBODY_SHARE) < 0) {
      const read = this.#anyone(clock, 'nobody');
      return random.chance(0.5) ? { ...read, rider: null, sku: null } : { ...read, city: null, device: null };
    }
    if ((dice -= FUTURE_SHARE) < 0) return this.#anyone(clock + random.between(1, 60 * MICROS_PER_HOUR), 'future');
    if ((dice -= PAST_SHARE) < 0) return this.#anyone(clock - this.#lag - random.between(1, MICROS_PER_HOUR), 'past');
    if (random.chance(0.3)) return this.#anyone(clock - random.between(0, this.#lag - 5 * MICROS_PER_MINUTE), 'recent');
    return this.#anyone(clock, 'now');
  }

  #anyone(asOf: Micros, aim: Aim): SkewRead {
    const [world, random] = [this.#world, this.#random];
    return {
      rider: world.riders[this.#pickRider(random)]!,
      city: random.pick(world.cities),
      sku: world.skus[this.#pickSku(random)]!,
      device: world.devices[this.#pickDevice(random)]!,
      asOf,
      aim,
      off: 0,
    };
  }

  /** An edge that states can still be read at, of a row that has arrived. */
  #edge(arrived: number, clock: Micros): SkewRead | undefined {
    const random = this.#random;
    const from = lowerBound(this.#edgeAt, clock - this.#lag + 5 * MICROS_PER_MINUTE);
    const to = lowerBound(this.#edgeAt, clock + MICROS_PER_MINUTE);
    for (let attempt = 0; attempt < 8 && from < to; attempt++) {
      const edge = random.between(from, to - 1);
      const index = this.#edgeRow[edge]!;
      if (index >= arrived) continue;
      const off = random.between(-1, 1);
      return { ...this.#of(this.#world.rows[index]!, this.#edgeAt[edge]! + off, 'edge'), off };
    }
    return undefined;
  }

  #hazard(arrived: number, clock: Micros): SkewRead | undefined {
    const random = this.#random;
    const rows = random.pick(this.#hazards);
    const known = lowerBound(rows, arrived);
    if (known === 0) return undefined;
    const row = this.#world.rows[rows[Math.max(0, known - 1 - random.between(0, RECENT_ROWS))]!]!;
    return this.#of(
      row,
      clock - (random.chance(0.5) ? 0 : random.between(0, this.#lag - 5 * MICROS_PER_MINUTE)),
      'hazard',
    );
  }

  #ended(arrived: number, clock: Micros): SkewRead | undefined {
    const known = lowerBound(this.#ends, arrived);
    return known === 0
      ? undefined
      : this.#of(this.#world.rows[this.#ends[this.#random.between(0, known - 1)]!]!, clock, 'ended');
  }

  /** The key of a row, or of the one it replaces: a row that moves changes both. */
  #of(row: WorldRow, asOf: Micros, aim: Aim): SkewRead {
    const of = row.replaces !== null && this.#random.chance(0.4) ? row.replaces : row;
    const { rider, city, sku, device } = keyOf(of);
    const other = this.#anyone(asOf, aim);
    return {
      rider: rider ?? other.rider,
      city: city ?? other.city,
      sku: sku ?? other.sku,
      device: device ?? other.device,
      asOf,
      aim,
      off: 0,
    };
  }
}

/** Items before the first that is at least `value`. */
function lowerBound(sorted: ArrayLike<number>, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The longest span of a source: rows older than this change no answer. */
export function reachOf(source: SourceName): Micros {
  return Math.max(...SPANS[source]);
}
