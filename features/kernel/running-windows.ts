/**
 * Sums of exact windows that move forward with the reads: an event is added once when it comes and taken out once when the
 * window has left it behind, instead of all of them being added up at every read. For replays, where one key is read many
 * times in a row. Fields are whole numbers (see `FieldOp`), so that taking out what was added leaves the very sum of the
 * rest, and the one that adding up gives in whatever order, as long as the sizes of what is added come to no more than 2^53;
 * from then on the windows are added up as always.
 */
import type { Micros } from '../../domain/time.ts';
import { FieldOp, FRACTION_SCALE, type TileSetPlan } from './view-plan.ts';

/** The part of a run that this reads: rows sorted by their first number, eventAt. */
interface EventRows {
  readonly rows: Float64Array;
  readonly head: number;
  readonly count: number;
}

interface Running {
  /** Events up to here have been left behind: the first `passed` of the run. */
  startAt: Micros;
  passed: number;
  readonly fields: Float64Array;
  /** Per field the sum without the signs: no sum of some of its parts is larger. */
  readonly sizes: Float64Array;
}

export class RunningWindows {
  readonly #set: TileSetPlan;
  readonly #windows: readonly Running[];
  #isExact = true;

  private constructor(set: TileSetPlan) {
    this.#set = set;
    this.#windows = set.windows.map(() => ({
      startAt: -Infinity,
      passed: 0,
      fields: new Float64Array(set.ops.length),
      sizes: new Float64Array(set.ops.length),
    }));
  }

  /** Null where something cannot be taken out: a minimum, a maximum; and for tiles, which are few. */
  static of(set: TileSetPlan): RunningWindows | null {
    const canTakeOut = set.ops.every((op) => op !== FieldOp.Min && op !== FieldOp.Max);
    return set.hopMicros === null && canTakeOut ? new RunningWindows(set) : null;
  }

  reset(): void {
    this.#isExact = true;
    for (const window of this.#windows) {
      window.startAt = -Infinity;
      window.passed = 0;
      window.fields.fill(0);
      window.sizes.fill(0);
    }
  }

  /** After an event has been put into the run. @param row where it starts in `rows` */
  added(rows: Float64Array, row: number): void {
    for (const window of this.#windows) {
      if (rows[row]! <= window.startAt) window.passed++;
      else this.#move(window, rows, row, 1);
    }
  }

  /** Before the first event of the run is dropped. */
  dropping({ rows, head }: EventRows): void {
    for (const window of this.#windows) {
      if (window.passed > 0) window.passed--;
      else this.#move(window, rows, head * this.#set.stride, -1);
    }
  }

  /**
   * The fields over the events after `startAt`; null when they have to be added up: the window has moved back, or some sum
   * may have been too large.
   */
  read(window: number, startAt: Micros, { rows, head, count }: EventRows): Float64Array | null {
    const running = this.#windows[window]!;
    if (startAt < running.startAt) return null;
    running.startAt = startAt;
    const { stride } = this.#set;
    for (; running.passed < count; running.passed++) {
      const row = (head + running.passed) * stride;
      if (rows[row]! > startAt) break;
      this.#move(running, rows, row, -1);
    }
    return this.#isExact ? running.fields : null;
  }

  #move({ fields, sizes }: Running, rows: Float64Array, row: number, sign: 1 | -1): void {
    const { ops, measures } = this.#set;
    for (let f = 0; f < ops.length; f++) {
      const value = rows[row + 1 + measures[f]!]!;
      // no part
      if (value !== value) continue;
      const part = partOf(ops[f]!, value);
      fields[f]! += sign * part;
      sizes[f]! += sign * Math.abs(part);
      if (sizes[f]! > Number.MAX_SAFE_INTEGER) this.#isExact = false;
    }
  }
}

/** What `take` of `view-state.ts` adds for a value. */
function partOf(op: number, value: number): number {
  switch (op) {
    case FieldOp.Count:
      return 1;
    case FieldOp.WholeSum:
      return Math.floor(value);
    case FieldOp.Fraction:
      return Math.round((value - Math.floor(value)) * FRACTION_SCALE);
    default:
      return value;
  }
}
