/** One world from its first row to its last: rows arrive and are applied while reads go on, things die and come back. */
import type { ProjectSpec } from '../../../domain/project/spec.ts';
import type { Micros } from '../../../domain/time.ts';
import { FOLD_LAG_MICROS } from '../../../features/online/apply-events.ts';
import { Aimer, type SkewRead } from './aim.ts';
import { type Applier, Killed } from './applier.ts';
import type { Moment } from './coverage.ts';
import { createRandom, type Random } from './random.ts';
import type { ReadRecord } from './read-log.ts';
import type { Serving } from './serving.ts';
import { keyOf, Tag, type World, type WorldRow } from './world.ts';

export interface WorldRequest {
  readonly project: ProjectSpec;
  readonly world: World;
  /** Rows of reads in all. */
  readonly reads: number;
  readonly applier: Applier;
  readonly serving: Serving;
  readonly hazards: Hazards;
  /** Told the virtual now, whenever it moves. */
  readonly onClock?: (now: Micros) => void;
}

/** A question that is asked before a late row comes, after it, and again. */
export interface Pin {
  readonly row: WorldRow;
  readonly records: ReadRecord[];
}

/** What happens on the way; each may be left out. */
export interface Hazards {
  /** Kills whoever applies, wherever it is. */
  readonly kill?: () => Promise<void>;
  /** Cuts every connection of the readers at the server. */
  readonly cut?: () => Promise<void>;
  /** Builds a view again from the log of the first `rows` rows and puts it in place. */
  readonly rebuild?: (rows: number) => Promise<void>;
}

export interface WorldRun {
  /** In the order in which they were asked. */
  readonly records: ReadRecord[];
  readonly pins: readonly Pin[];
  readonly kills: number;
  readonly reconnections: number;
  readonly rebuilds: number;
  readonly steps: number;
}

/** Rows of a micro-batch, at most. */
const STEP_ROWS = 90;
const KILL_SHARE = 0.04;
const RECONNECT_SHARE = 0.03;
const REBUILDS = 2;
/** Rows that are read while a view is built, if it takes that long. */
const REBUILD_READS = 150;
/** Late rows of a step that are watched, and how many steps they are. */
const PINS = 3;
const PINNED_STEPS = 3;

export async function runWorld(request: WorldRequest): Promise<WorldRun> {
  return new Run(request).run();
}

class Run {
  readonly #request: WorldRequest;
  readonly #random: Random;
  readonly #aimer: Aimer;
  readonly #records: ReadRecord[] = [];
  readonly #rebuildFrom: number[];
  readonly #pins: (Pin & { left: number })[] = [];
  #kills = 0;
  #reconnections = 0;
  #rebuilds = 0;
  #steps = 0;

  constructor(request: WorldRequest) {
    const { world } = request;
    this.#request = request;
    this.#random = createRandom(world.seed, 3);
    this.#aimer = new Aimer(world, FOLD_LAG_MICROS, 4);
    this.#rebuildFrom = Array.from({ length: REBUILDS }, (_, i) =>
      Math.floor((world.rows.length * (i + 0.5 + 0.4 * this.#random.unit())) / REBUILDS),
    );
  }

  async run(): Promise<WorldRun> {
    const { world, reads, applier, serving, hazards } = this.#request;
    const random = this.#random;
    let rows = 0;
    while (rows < world.rows.length) {
      const before = rows;
      rows = Math.min(world.rows.length, rows + random.between(1, STEP_ROWS));
      this.#steps++;
      this.#request.onClock?.(world.rows[rows - 1]!.clockAt);
      const moments = new Set<Moment>();
      if (random.chance(RECONNECT_SHARE)) {
        moments.add('clients reconnected');
        this.#reconnections++;
        // a client that is restarted, or one whose connection goes away under it
        if (hazards.cut === undefined || random.chance(0.5)) await serving.reconnect();
        else await hazards.cut();
      }
      const owed = Math.floor((reads * rows) / world.rows.length) - this.#records.length;
      const isKilled = hazards.kill !== undefined && random.chance(KILL_SHARE);
      const rebuild =
        hazards.rebuild !== undefined && before > 0 && this.#rebuildFrom[0]! <= before ? hazards.rebuild : null;
      if (rebuild !== null) {
        this.#rebuildFrom.shift();
        this.#rebuilds++;
        await this.#readWhile(
          rebuild(before),
          Math.max(owed, REBUILD_READS),
          rows,
          new Set([...moments, 'view being rebuilt']),
        );
        if (this.#rebuildFrom.length === 0) this.#rebuildFrom.push(Infinity);
      }
      this.#pin(before, rows);
      await this.#askPins([...moments]);
      if (isKilled) await this.#applyAndKill(applier, rows, moments);
      await this.#readWhile(applier.applyTo(rows), Math.ceil(owed / 2), rows, new Set([...moments, 'batch under way']));
      await this.#askPins([...moments]);
      await this.#readUpTo(Math.floor((reads * rows) / world.rows.length), rows, moments);
    }
    const [kills, reconnections, rebuilds, steps] = [this.#kills, this.#reconnections, this.#rebuilds, this.#steps];
    return { records: this.#records, pins: this.#pins, kills, reconnections, rebuilds, steps };
  }

  /** Watches some of the late rows that are about to come. */
  #pin(before: number, rows: number): void {
    const late = this.#request.world.rows
      .slice(before, rows)
      .filter(({ tags }) => (tags & (Tag.Late | Tag.Backfill)) !== 0);
    for (const row of late.slice(0, PINS)) this.#pins.push({ row, records: [], left: PINNED_STEPS });
  }

  async #askPins(moments: readonly Moment[]): Promise<void> {
    const asked = this.#pins.filter(({ left }) => left > 0);
    if (asked.length === 0) return;
    const reads = asked.map(({ row }): SkewRead => {
      const { rider = null, city = null, sku = null, device = null } = keyOf(row);
      const asOf = Math.max(row.eventAt, row.availableAt);
      return { rider, city, sku, device, asOf, aim: 'hazard', off: 0 };
    });
    const records = await this.#request.serving.read(reads, moments);
    for (const [i, pin] of asked.entries()) {
      pin.records.push(records[i]!);
      if (pin.records.length % 2 === 0) pin.left--;
    }
    this.#records.push(...records);
  }

  /** Begins to apply, kills whoever does it after a few reads, and reads on while nobody applies. */
  async #applyAndKill(applier: Applier, rows: number, moments: Set<Moment>): Promise<void> {
    const applying = applier.applyTo(rows).catch((error: unknown) => {
      if (!(error instanceof Killed)) throw error;
    });
    for (let i = this.#random.between(0, 6); i > 0; i--)
      await this.#readBatch(1, rows, [...moments, 'batch under way']);
    await this.#request.hazards.kill!();
    await applying;
    this.#kills++;
    moments.add('applier killed');
    await this.#readBatch(this.#aimer.batchSize(), rows, [...moments]);
  }

  /** Reads while `work` is under way, at most `limit` rows, and waits for its end. */
  async #readWhile(work: Promise<void>, limit: number, rows: number, moments: ReadonlySet<Moment>): Promise<void> {
    let working = true;
    const ended = work.finally(() => {
      working = false;
    });
    // who waits for it comes to it below
    ended.catch(() => undefined);
    const upTo = this.#records.length + limit;
    while (working && this.#records.length < upTo) await this.#readBatch(this.#aimer.batchSize(), rows, [...moments]);
    await ended;
  }

  async #readUpTo(count: number, rows: number, moments: ReadonlySet<Moment>): Promise<void> {
    while (this.#records.length < count) await this.#readBatch(this.#aimer.batchSize(), rows, [...moments]);
  }

  async #readBatch(size: number, rows: number, moments: readonly Moment[]): Promise<void> {
    const clock = this.#request.world.rows[rows - 1]!.clockAt;
    const reads = Array.from({ length: size }, (): SkewRead => this.#aimer.next(rows, clock));
    this.#records.push(...(await this.#request.serving.read(reads, moments)));
  }
}
