/**
 * Seeded worlds: what is pushed, in the order and at the times it arrives. A world knows which hazard each row is, so that
 * reads can be aimed at them and the coverage be counted.
 */
import { MICROS_PER_HOUR, MICROS_PER_MINUTE, type Micros } from '../../../domain/time.ts';
import type { Datum, FactKind } from '../../../features/history/fact.ts';
import { LATE_SPAN, type ReadKeys, type SourceName } from './definitions.ts';
import { createRandom, createZipf, type Random } from './random.ts';

/** What is special about a row; a row may be several. */
export const Tag = {
  Late: 1,
  Correction: 2,
  KeyMove: 4,
  TimeMove: 8,
  Retract: 16,
  Tombstone: 32,
  AfterTombstone: 64,
  Retry: 128,
  Tie: 256,
  Null: 512,
  NotFinite: 1024,
  HostileKey: 2048,
  Backfill: 4096,
  Embargo: 8192,
} as const;

export interface WorldRow {
  readonly source: SourceName;
  /** 1, 2, 3… within the source, in the order of arrival. */
  readonly seq: number;
  readonly kind: FactKind;
  readonly eventAt: Micros;
  readonly availableAt: Micros;
  /** The virtual clock at arrival; never decreasing. */
  readonly clockAt: Micros;
  readonly row: Readonly<Record<string, Datum>>;
  readonly tags: number;
  /** The version this one replaces; null: none. */
  readonly replaces: WorldRow | null;
}

export interface World {
  readonly seed: number;
  readonly rows: readonly WorldRow[];
  readonly startAt: Micros;
  readonly endAt: Micros;
  /** Keys that rows have, busiest first; reads take them from here, and some that no row has. */
  readonly riders: readonly string[];
  readonly cities: readonly string[];
  readonly skus: readonly number[];
  readonly devices: readonly string[];
}

export interface WorldSize {
  readonly rows: number;
  readonly riders: number;
  readonly skus: number;
  readonly devices: number;
  readonly hours: number;
}

export const WORLD_SIZE: WorldSize = { rows: 5_000, riders: 120, skus: 80, devices: 60, hours: 120 };

/** 2024-03-30T22:00:00Z: a night in which clocks change, for whoever would count in local time. */
const EPOCH: Micros = 1_711_836_000_000_000;

const LATE = 0.15;
// of all rows 3 % are corrections, 1 % key moves, 1 % retractions, 0.2 % tombstones and 2 % retries; a quarter of the rows
// are of the source that has none of them, half of the rows of the one whose rows can move
const CORRECTED = 0.04;
const MOVED = 0.02;
const RETRACTED = 0.0135;
const ENDED = 0.003;
const AGAIN = 0.027;
const TIED = 0.05;
const EMBARGOED = 0.02;
const BACKFILLED = 0.04;

/** Texts that get lost, merge or break out where somebody joins, trims, folds or normalises keys. */
const HOSTILE = [
  'a',
  'ab',
  '',
  ' a',
  'A',
  '1',
  '01',
  'null',
  "'; drop table online_state; --",
  'caf\u00e9',
  'cafe\u0301',
  '__proto__',
  'a|b',
  'a,b',
  '\u{1f6eb}',
  '\u202eabc',
  '%_\\',
  'x'.repeat(300),
];
/** With the first two cities: `('a', 'bc')` and `('ab', 'c')`. */
const COLLIDING = ['a', 'ab'];
const CITIES = ['bc', 'c', '', 'b|c', 'Z\u00fcrich'];
const SKUS = [0, -1, 1, Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER];
const CHANNELS = ['app', 'web', 'App', '', 'phone', 'caf\u00e9', 'cafe\u0301'];

export function createWorld(seed: number, size: WorldSize = WORLD_SIZE): World {
  return new WorldBuilder(seed, size).build();
}

/** One logical row, with what its versions have in common. */
interface Logical {
  last: WorldRow;
  retracted: boolean;
}

class WorldBuilder {
  readonly #random: Random;
  readonly #seed: number;
  readonly #size: WorldSize;
  readonly #rows: WorldRow[] = [];
  readonly #seqs: Record<SourceName, number> = { trips: 0, prices: 0, pings: 0 };
  readonly #logical: Record<'trips' | 'prices', Logical[]> = { trips: [], prices: [] };
  /** Keys with a tombstone that late rows are still to come for. */
  readonly #wakes: { readonly tombstone: WorldRow; left: number }[] = [];
  readonly #endedSkus = new Set<Datum>();
  readonly #riders: readonly string[];
  readonly #skus: readonly number[];
  readonly #devices: readonly string[];
  readonly #pickRider: () => string;
  readonly #pickSku: () => number;
  readonly #pickDevice: () => string;
  #clock: Micros = EPOCH;
  #names = 0;

  constructor(seed: number, size: WorldSize) {
    this.#seed = seed;
    this.#size = size;
    this.#random = createRandom(seed, 1);
    const keys = <T>(hostile: readonly T[], count: number, plain: (i: number) => T): readonly T[] =>
      shuffled(this.#random, [
        ...hostile,
        ...Array.from({ length: Math.max(0, count - hostile.length) }, (_, i) => plain(i)),
      ]);
    const riders = keys(HOSTILE, size.riders, (i) => `rider-${i}`).filter((rider) => !COLLIDING.includes(rider));
    // two that are one when their parts are joined are busy, so that somebody would notice
    this.#riders = [...riders.slice(0, 4), ...COLLIDING, ...riders.slice(4)];
    this.#skus = keys(SKUS, size.skus, (i) => 100 + i);
    this.#devices = keys(HOSTILE.slice(0, 12), size.devices, (i) => `device-${i}`);
    const picker = <T>(items: readonly T[]): (() => T) => {
      const zipf = createZipf(items.length);
      return () => items[zipf(this.#random)]!;
    };
    this.#pickRider = picker(this.#riders);
    this.#pickSku = picker(this.#skus);
    this.#pickDevice = picker(this.#devices);
  }

  build(): World {
    const { rows, hours } = this.#size;
    const step = (hours * MICROS_PER_HOUR) / rows;
    // the backfill arrives as one stream while everything else goes on
    const backfillFrom = Math.floor(rows * (0.4 + 0.2 * this.#random.unit()));
    const backfillTo = backfillFrom + Math.floor(rows * BACKFILLED * 2);
    while (this.#rows.length < rows) {
      // several rows may arrive at one instant: they are known at the same time
      if (!this.#random.chance(0.15)) this.#clock += 1 + Math.floor(-Math.log(1 - this.#random.unit()) * step);
      const index = this.#rows.length;
      if (index >= backfillFrom && index < backfillTo && this.#random.chance(0.5)) this.#pushBackfilled();
      else this.#pushOne();
    }
    return {
      seed: this.#seed,
      rows: this.#rows,
      startAt: EPOCH,
      endAt: this.#clock,
      riders: this.#riders,
      cities: CITIES,
      skus: this.#skus,
      devices: this.#devices,
    };
  }

  #pushOne(): void {
    const random = this.#random;
    const wake = this.#wakes.length > 0 && random.chance(0.03) ? random.pick(this.#wakes) : undefined;
    if (wake !== undefined) return this.#pushAfterTombstone(wake);
    const source: SourceName = random.chance(0.5) ? 'trips' : random.chance(0.5) ? 'prices' : 'pings';
    if (source !== 'pings') {
      const dice = random.unit();
      const known = this.#logical[source];
      if (known.length > 0) {
        // of the recent rows, so that the change is seen by somebody
        const logical = known[Math.max(0, known.length - 1 - random.between(0, 150))]!;
        if (dice < CORRECTED) return this.#correct(source, logical);
        if (dice < CORRECTED + MOVED && source === 'trips') return this.#move(logical);
        if (dice < CORRECTED + MOVED + RETRACTED) return this.#retract(source, logical);
        if (dice < CORRECTED + MOVED + RETRACTED + AGAIN) return this.#repeat(logical);
      }
      if (random.chance(ENDED)) return this.#end(random.chance(0.3) ? 'trips' : 'prices');
    }
    const { eventAt, tags } = this.#eventTime(source);
    this.#pushNew(source, eventAt, tags);
  }

  #eventTime(source: SourceName): { eventAt: Micros; tags: number } {
    const random = this.#random;
    if (random.chance(LATE))
      return { eventAt: this.#clock - random.between(MICROS_PER_MINUTE, 2 * LATE_SPAN), tags: Tag.Late };
    const last = this.#rows.slice(-20).find((row) => row.source === source && row.kind === 'put');
    if (random.chance(TIED) && last !== undefined) return { eventAt: last.eventAt, tags: Tag.Tie };
    // a sender's clock may be ahead
    if (random.chance(0.01)) return { eventAt: this.#clock + random.between(1, MICROS_PER_HOUR), tags: Tag.Embargo };
    return { eventAt: this.#clock - (random.chance(0.2) ? 0 : random.between(1, 2_000_000)), tags: 0 };
  }

  #pushNew(source: SourceName, eventAt: Micros, tags: number, fixed: Readonly<Record<string, Datum>> = {}): void {
    const random = this.#random;
    const isTie = (tags & Tag.Tie) !== 0;
    const tie = isTie ? this.#rows.findLast((row) => row.source === source && row.eventAt === eventAt) : undefined;
    // the second row of an instant may be imported with an older knowledge time: arrival must not decide
    const backdated = tie !== undefined && random.chance(0.3);
    const embargo = !backdated && random.chance(EMBARGOED);
    const availableAt = backdated
      ? tie.availableAt - random.between(0, 2)
      : this.#clock + (embargo ? random.between(1, 3 * MICROS_PER_HOUR) : 0);
    // equal times matter between rows of one key
    const key = tie === undefined ? {} : keyOf(tie);
    const row = this.#push(
      source,
      'put',
      eventAt,
      availableAt,
      { ...this.#values(source), ...key, ...fixed },
      tags | (embargo ? Tag.Embargo : 0),
    );
    if (source !== 'pings') this.#logical[source].push({ last: row, retracted: false });
  }

  #pushBackfilled(): void {
    const random = this.#random;
    const eventAt = this.#clock - random.between(MICROS_PER_MINUTE, 4 * LATE_SPAN);
    const source: SourceName = random.chance(0.5) ? 'trips' : random.chance(0.5) ? 'prices' : 'pings';
    // history comes with its true knowledge times
    const availableAt = eventAt + random.between(0, 5 * MICROS_PER_MINUTE);
    const row = this.#push(source, 'put', eventAt, availableAt, this.#values(source), Tag.Backfill);
    if (source !== 'pings') this.#logical[source].push({ last: row, retracted: false });
  }

  #correct(source: 'trips' | 'prices', logical: Logical): void {
    const random = this.#random;
    const { last } = logical;
    // only where the row has a name of its own can its time change
    const timeMove = source === 'trips' && random.chance(0.3);
    const eventAt = timeMove ? last.eventAt + random.between(-LATE_SPAN, LATE_SPAN / 12) : last.eventAt;
    const kept = source === 'trips' ? { trip_id: last.row['trip_id']!, ...keyOf(last) } : keyOf(last);
    // some corrections come with the history they correct, known before rows that arrived earlier
    const backdated = random.chance(0.15);
    const availableAt = backdated
      ? Math.min(this.#clock, last.availableAt) - (random.chance(0.5) ? 1 : 0)
      : this.#clock;
    const tags = Tag.Correction | (timeMove ? Tag.TimeMove : 0) | (backdated ? Tag.Backfill : 0);
    logical.last = this.#push(source, 'put', eventAt, availableAt, { ...this.#values(source), ...kept }, tags, last);
    logical.retracted = false;
  }

  #move(logical: Logical): void {
    const { last } = logical;
    const row = { ...last.row, rider: this.#pickRider() };
    logical.last = this.#push('trips', 'put', last.eventAt, this.#clock, row, Tag.Correction | Tag.KeyMove, last);
    logical.retracted = false;
  }

  #retract(source: 'trips' | 'prices', logical: Logical): void {
    const { last } = logical;
    const row = source === 'trips' ? { trip_id: last.row['trip_id']!, ...keyOf(last) } : keyOf(last);
    logical.last = this.#push(source, 'retract', last.eventAt, this.#clock, row, Tag.Retract, last);
    logical.retracted = true;
  }

  /** A sender that is not sure sends the same row again. */
  #repeat(logical: Logical): void {
    const { last } = logical;
    this.#push(last.source, last.kind, last.eventAt, this.#clock, last.row, last.tags | Tag.Retry, last);
  }

  #end(source: 'trips' | 'prices'): void {
    const random = this.#random;
    const eventAt =
      this.#clock +
      (random.chance(0.2) ? random.between(1, 30 * MICROS_PER_MINUTE) : -random.between(0, MICROS_PER_HOUR));
    const key: Record<string, Datum> =
      source === 'trips'
        ? { rider: this.#pickRider(), city: random.chance(0.5) ? random.pick(CITIES) : null }
        : // of the rarer ones; what has ended is mostly not sold again
          { sku: this.#skus[random.between(Math.floor(this.#skus.length / 4), this.#skus.length - 1)]! };
    if (key['sku'] !== undefined) this.#endedSkus.add(key['sku']);
    const named = source === 'trips' ? { trip_id: this.#name('end') } : {};
    const tombstone = this.#push(source, 'tombstone', eventAt, this.#clock, { ...key, ...named }, Tag.Tombstone);
    this.#wakes.push({ tombstone, left: random.between(5, 12) });
  }

  /** A row of a key that has ended: older than the end (dead on arrival), at the very instant, or newer (alive). */
  #pushAfterTombstone(wake: { readonly tombstone: WorldRow; left: number }): void {
    const random = this.#random;
    const { tombstone } = wake;
    if (--wake.left === 0) this.#wakes.splice(this.#wakes.indexOf(wake), 1);
    const dice = random.unit();
    const eventAt =
      dice < 0.9
        ? tombstone.eventAt - random.between(1, LATE_SPAN)
        : dice < 0.95
          ? tombstone.eventAt
          : Math.max(tombstone.eventAt + 1, this.#clock - random.between(0, MICROS_PER_MINUTE));
    const tags = dice < 0.95 ? Tag.AfterTombstone | Tag.Late : Tag.AfterTombstone;
    const { rider, city, sku } = keyOf(tombstone);
    const key: Record<string, Datum> =
      tombstone.source === 'trips' ? { rider: rider ?? null, city: city ?? random.pick(CITIES) } : { sku: sku ?? null };
    this.#pushNew(tombstone.source, eventAt, tags, key);
  }

  #values(source: SourceName): Record<string, Datum> {
    const random = this.#random;
    const orNull = <T extends Datum>(value: T): T | null => (random.chance(0.05) ? null : value);
    switch (source) {
      case 'trips':
        return {
          trip_id: this.#name('trip'),
          rider: random.chance(0.005) ? null : this.#pickRider(),
          city: orNull(random.pick(CITIES)),
          fare: orNull(aNumber(random)),
          seats: orNull(random.chance(0.02) ? Number.MAX_SAFE_INTEGER - random.between(0, 5) : random.between(-3, 6)),
          channel: orNull(random.pick(CHANNELS)),
          night: orNull(random.chance(0.6)),
        };
      case 'prices':
        return {
          sku: random.chance(0.005) ? null : this.#pickSoldSku(),
          price: orNull(aNumber(random)),
          stock: orNull(random.between(0, 1_000)),
          tier: orNull(random.pick(['gold', 'silver', ''])),
        };
      case 'pings':
        return {
          ping_id: this.#name('ping'),
          device: random.chance(0.005) ? null : this.#pickDevice(),
          value: orNull(random.between(-1_000_000, 1_000_000)),
          load: orNull(aNumber(random)),
          ok: orNull(random.chance(0.9)),
        };
    }
  }

  #pickSoldSku(): number {
    const sku = this.#pickSku();
    return this.#endedSkus.has(sku) && this.#random.chance(0.9) ? this.#pickSku() : sku;
  }

  #name(what: string): string {
    return `${what}-${++this.#names}`;
  }

  #push(
    source: SourceName,
    kind: FactKind,
    eventAt: Micros,
    availableAt: Micros,
    values: Readonly<Record<string, Datum>>,
    tags: number,
    replaces: WorldRow | null = null,
  ): WorldRow {
    const operation = source === 'pings' ? {} : { change: kind === 'put' ? null : kind };
    const columns: Record<string, Datum> = {
      ...EMPTY[source],
      ...values,
      ...operation,
      happened_at: eventAt,
      known_at: availableAt,
    };
    const numbers = [columns['fare'], columns['price'], columns['load']];
    const special =
      (kind === 'put' && Object.entries(columns).some(([name, value]) => name !== 'change' && value === null)
        ? Tag.Null
        : 0) |
      (numbers.some((value) => typeof value === 'number' && !Number.isFinite(value)) ? Tag.NotFinite : 0) |
      (isHostile(columns['rider'] ?? columns['sku'] ?? columns['device'] ?? null) ? Tag.HostileKey : 0);
    const pushed: WorldRow = {
      source,
      seq: ++this.#seqs[source],
      kind,
      eventAt,
      availableAt,
      clockAt: this.#clock,
      row: columns,
      tags: tags | special,
      replaces,
    };
    this.#rows.push(pushed);
    return pushed;
  }
}

const EMPTY: Readonly<Record<SourceName, Readonly<Record<string, null>>>> = {
  trips: { trip_id: null, change: null, rider: null, city: null, fare: null, seats: null, channel: null, night: null },
  prices: { change: null, sku: null, price: null, stock: null, tier: null },
  pings: { ping_id: null, device: null, value: null, load: null, ok: null },
};

/** Numbers whose sum depends on the order of a plain addition, and those that are no numbers. */
function aNumber(random: Random): number {
  const dice = random.unit();
  if (dice < 0.01) return NaN;
  if (dice < 0.015) return random.chance(0.5) ? Infinity : -Infinity;
  if (dice < 0.03) return random.chance(0.5) ? -0 : 0;
  if (dice < 0.1) return (random.chance(0.5) ? 1 : -1) * 1e16;
  if (dice < 0.5) return random.between(-50, 500) / 10;
  return (random.unit() - 0.3) * 10 ** random.between(-8, 8);
}

/** The key columns of a row, whichever its source has. */
export function keyOf({ row }: WorldRow): Partial<ReadKeys> & Record<string, Datum> {
  const key: Record<string, Datum> = {};
  for (const name of ['rider', 'city', 'sku', 'device']) if (row[name] !== undefined) key[name] = row[name];
  return key;
}

const HOSTILE_KEYS = new Set<Datum>([...HOSTILE, ...SKUS]);

export function isHostile(key: Datum): boolean {
  return HOSTILE_KEYS.has(key);
}

function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const order = [...items];
  for (let i = order.length - 1; i > 0; i--) {
    const other = random.between(0, i);
    [order[i], order[other]] = [order[other]!, order[i]!];
  }
  return order;
}
