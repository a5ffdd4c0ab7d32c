/**
 * The state of one key of one view, and the one place that selects events as of a time. Offline replay and the online
 * store run this same code, so a value read from stored bytes is the value a replay of the log gives, bit for bit.
 *
 * State is what is known at `foldedAt`: tiles (or events, for exact windows) with everything visible by then, and the
 * pending events that become visible later. Reads are for `asOf ≥ foldedAt`. Contents depend on the events and on
 * `foldedAt` alone, never on the order of insertion or on earlier fold points, and neither do the encoded bytes.
 */
import type { Micros } from '../../domain/time.ts';
import { RunningWindows } from './running-windows.ts';
import { FieldOp, FRACTION_SCALE, type TileSetPlan, type ViewPlan } from './view-plan.ts';

/** Rows of equal width, sorted by their first number; `rows[head·stride …]` is the first. */
interface Run {
  rows: Float64Array;
  head: number;
  count: number;
  /** Kept up to date beside the rows once `runWindows` has been asked for. */
  running?: RunningWindows;
}

export interface ViewState {
  /** Everything visible up to here is in the tiles; −Infinity: nothing has been folded. */
  foldedAt: Micros;
  /** The newest `eventAt` of what is in the tiles, as far as it is in reach; −Infinity: nothing is. */
  newestAt: Micros;
  /** One per `plan.tileSets`: [tile index, fields…] or, for exact windows, [eventAt, measures…]. */
  readonly runs: readonly Run[];
  /** [visibleAt, eventAt, measures…] */
  readonly pending: Run;
}

/** How a value came about; `read` writes the position in this list. */
export { FEATURE_STATUSES, type FeatureStatus } from '../../domain/features/feature-status.ts';
const PRESENT = 0;
const NULL = 1;
const DEFAULTED = 2;
const NOT_FOUND = 3;

const NO_ROWS = new Float64Array(0);

export function createState(plan: ViewPlan): ViewState {
  return {
    foldedAt: -Infinity,
    newestAt: -Infinity,
    runs: plan.tileSets.map(() => ({ rows: NO_ROWS, head: 0, count: 0 })),
    pending: { rows: NO_ROWS, head: 0, count: 0 },
  };
}

/** For an empty state that will be read many times as it goes along: the same values, at a cost that does not grow with the windows. */
export function runWindows(plan: ViewPlan, state: ViewState): void {
  for (const [s, run] of state.runs.entries()) {
    const running = RunningWindows.of(plan.tileSets[s]!);
    if (running !== null) run.running = running;
  }
}

/** Empties a state but keeps its memory, for replays that go through one key after the other. */
export function resetState(state: ViewState): void {
  state.foldedAt = state.newestAt = -Infinity;
  for (const run of state.runs) {
    run.head = run.count = 0;
    run.running?.reset();
  }
  state.pending.head = state.pending.count = 0;
}

/**
 * Takes in one event. One that is visible at the fold point goes straight into the tiles.
 * @param visibleAt max(eventAt, availableAt)
 * @param measures  as `plan.measureRow` gives them, from `offset` on: finite, or NaN for "takes no part"
 */
export function insert(
  plan: ViewPlan,
  state: ViewState,
  eventAt: Micros,
  visibleAt: Micros,
  measures: Float64Array,
  offset: number,
): void {
  if (visibleAt <= state.foldedAt) {
    addVisible(plan, state, eventAt, measures, offset);
    return;
  }
  const { pending } = state;
  const stride = 2 + plan.measureCount;
  const row = openRow(pending, stride, pendingPosition(pending, stride, visibleAt, eventAt, measures, offset));
  pending.rows[row] = visibleAt;
  pending.rows[row + 1] = eventAt;
  for (let i = 0; i < plan.measureCount; i++) pending.rows[row + 2 + i] = measures[offset + i]! + 0;
}

/** Moves the fold point to `at`: what became visible enters the tiles, what no later read can reach is dropped. Never moves back. */
export function foldTo(plan: ViewPlan, state: ViewState, at: Micros): void {
  if (at <= state.foldedAt) return;
  state.foldedAt = at;
  const { pending } = state;
  const stride = 2 + plan.measureCount;
  while (pending.count > 0 && pending.rows[pending.head * stride]! <= at) {
    const row = pending.head * stride;
    addVisible(plan, state, pending.rows[row + 1]!, pending.rows, row + 2);
    pending.head++;
    pending.count--;
  }
  const { tileSets } = plan;
  for (let s = 0; s < tileSets.length; s++) {
    const set = tileSets[s]!;
    const run = state.runs[s]!;
    while (run.count > 0 && !isReachable(set, run.rows[run.head * set.stride]!, at)) {
      run.running?.dropping(run);
      run.head++;
      run.count--;
    }
  }
  if (state.newestAt <= at - plan.horizonMicros) state.newestAt = -Infinity;
}

/**
 * The outputs at `asOf ≥ foldedAt`, into `out` from `outOffset` on in the order of `plan.outputs`; NaN is null. When no event
 * lies within the plan's horizon before `asOf` they are those of a key without events, `not_found`: so nothing is told by
 * whether a spent state is still there.
 * @param statuses  when given, receives positions in `FEATURE_STATUSES`
 * @throws RangeError for `asOf` before the fold point: what was folded since cannot be taken out
 */
export function read(
  plan: ViewPlan,
  state: ViewState,
  asOf: Micros,
  out: Float64Array,
  outOffset: number,
  statuses: Uint8Array | null = null,
): void {
  if (asOf < state.foldedAt)
    throw new RangeError(`${plan.id}: asOf ${asOf} lies before the fold point ${state.foldedAt}`);
  if (newestVisible(plan, state, asOf) <= asOf - plan.horizonMicros) {
    readMissing(plan, out, outOffset, statuses);
    return;
  }
  const { tileSets } = plan;
  for (let s = 0; s < tileSets.length; s++) {
    const set = tileSets[s]!;
    const { scratch } = set;
    for (let w = 0; w < set.windows.length; w++) {
      const window = set.windows[w]!;
      scratch.set(set.initial);
      const startAt =
        set.hopMicros === null
          ? asOf - window.lengthMicros
          : Math.floor((asOf - window.lengthMicros) / set.hopMicros) * set.hopMicros;
      const run = state.runs[s]!;
      const sums = run.running?.read(w, startAt, run) ?? null;
      if (sums === null) accumulate(set, run, startAt);
      else scratch.set(sums);
      accumulatePending(plan, set, state.pending, startAt, asOf);
      for (let i = 0; i < window.outputs.length; i++) {
        const { output, fn, default: fallback, count, value, fraction } = window.outputs[i]!;
        let result: number;
        if (fn === 'count') {
          result = scratch[count]!;
        } else if (fn === 'min' || fn === 'max') {
          result = Math.abs(scratch[value]!) === Infinity ? NaN : scratch[value]!;
        } else if (scratch[count] === 0) {
          result = NaN;
        } else {
          result = fraction < 0 ? scratch[value]! : scratch[value]! + scratch[fraction]! / FRACTION_SCALE;
          if (fn !== 'sum') result /= scratch[count]!;
        }
        // null is the only value that is not equal to itself
        const isNull = result !== result;
        out[outOffset + output] = isNull && fallback !== null ? fallback : result;
        if (statuses !== null) statuses[outOffset + output] = isNull ? (fallback === null ? NULL : DEFAULTED) : PRESENT;
      }
    }
  }
}

/** What is read for a key without events, or for a null key: the empty window, with status `not_found`. */
export function readMissing(
  plan: ViewPlan,
  out: Float64Array,
  outOffset: number,
  statuses: Uint8Array | null = null,
): void {
  for (let i = 0; i < plan.outputs.length; i++) {
    const { fn, default: fallback } = plan.outputs[i]!;
    out[outOffset + i] = fn === 'count' ? 0 : (fallback ?? NaN);
    if (statuses !== null) statuses[outOffset + i] = NOT_FOUND;
  }
}

/** True when no read at or after `at` can tell this state from none: its row may be deleted. */
export function isSpent(plan: ViewPlan, state: ViewState, at: Micros): boolean {
  return state.pending.count === 0 && state.newestAt <= at - plan.horizonMicros;
}

function newestVisible(plan: ViewPlan, { newestAt, pending }: ViewState, asOf: Micros): Micros {
  const stride = 2 + plan.measureCount;
  let newest = newestAt;
  const end = (pending.head + pending.count) * stride;
  for (let row = pending.head * stride; row < end && pending.rows[row]! <= asOf; row += stride) {
    if (pending.rows[row + 1]! > newest) newest = pending.rows[row + 1]!;
  }
  return newest;
}

/** Whether a tile (by index) or an event (by eventAt) is in some window at some `asOf ≥ at`. */
function isReachable(set: TileSetPlan, position: number, at: Micros): boolean {
  return set.hopMicros === null
    ? position > at - set.lengthMicros
    : at < (position + 1) * set.hopMicros + set.lengthMicros;
}

function addVisible(plan: ViewPlan, state: ViewState, eventAt: Micros, measures: Float64Array, offset: number): void {
  if (eventAt > state.newestAt && eventAt > state.foldedAt - plan.horizonMicros) state.newestAt = eventAt;
  const { tileSets } = plan;
  for (let s = 0; s < tileSets.length; s++) {
    const set = tileSets[s]!;
    if (set.hopMicros === null) addEvent(plan, set, state.runs[s]!, state.foldedAt, eventAt, measures, offset);
    else addToTile(set, state.runs[s]!, state.foldedAt, Math.ceil(eventAt / set.hopMicros) - 1, measures, offset);
  }
}

function addToTile(
  set: TileSetPlan,
  run: Run,
  foldedAt: Micros,
  tile: number,
  measures: Float64Array,
  offset: number,
): void {
  const { stride } = set;
  let index = run.head + run.count - 1;
  if (run.count === 0 || run.rows[index * stride] !== tile) {
    if (!isReachable(set, tile, foldedAt) || !fieldsTakePart(set, measures, offset)) return;
    index = run.head + lowerBound(run, stride, tile);
    if (index === run.head + run.count || run.rows[index * stride] !== tile) {
      const row = openRow(run, stride, index - run.head);
      run.rows[row] = tile;
      run.rows.set(set.initial, row + 1);
      take(set, run.rows, row + 1, measures, offset);
      return;
    }
  }
  take(set, run.rows, index * stride + 1, measures, offset);
}

function addEvent(
  plan: ViewPlan,
  set: TileSetPlan,
  run: Run,
  foldedAt: Micros,
  eventAt: Micros,
  measures: Float64Array,
  offset: number,
): void {
  if (!isReachable(set, eventAt, foldedAt) || !fieldsTakePart(set, measures, offset)) return;
  const { stride } = set;
  let position = run.count;
  while (
    position > 0 &&
    isAfter(run.rows, (run.head + position - 1) * stride, eventAt, measures, offset, plan.measureCount)
  ) {
    position--;
  }
  const row = openRow(run, stride, position);
  run.rows[row] = eventAt;
  for (let i = 0; i < plan.measureCount; i++) run.rows[row + 1 + i] = measures[offset + i]! + 0;
  run.running?.added(run.rows, row);
}

/** Adds one event's measures to the fields that start at `into[at]`. */
function take(set: TileSetPlan, into: Float64Array, at: number, measures: Float64Array, offset: number): void {
  const { ops } = set;
  for (let f = 0; f < ops.length; f++) {
    const value = measures[offset + set.measures[f]!]!;
    if (value !== value) continue;
    switch (ops[f]!) {
      case FieldOp.Count:
        into[at + f]!++;
        break;
      case FieldOp.Sum:
        into[at + f]! += value;
        break;
      case FieldOp.WholeSum:
        into[at + f]! += Math.floor(value);
        break;
      case FieldOp.Fraction:
        into[at + f]! += Math.round((value - Math.floor(value)) * FRACTION_SCALE);
        break;
      case FieldOp.Min:
        if (value < into[at + f]!) into[at + f] = value + 0;
        break;
      case FieldOp.Max:
        if (value > into[at + f]!) into[at + f] = value + 0;
        break;
    }
  }
}

/** Everything of a run after `startAt` into the set's scratch. All of it is visible: reads are at or after the fold point. */
function accumulate(set: TileSetPlan, run: Run, startAt: Micros): void {
  const { stride, ops, scratch, hopMicros } = set;
  const { rows } = run;
  const end = run.head + run.count;
  if (hopMicros === null) {
    for (let i = end - 1; i >= run.head && rows[i * stride]! > startAt; i--)
      take(set, scratch, 0, rows, i * stride + 1);
    return;
  }
  const first = startAt / hopMicros;
  for (let i = end - 1; i >= run.head && rows[i * stride]! >= first; i--) {
    const row = i * stride + 1;
    for (let f = 0; f < ops.length; f++) {
      const value = rows[row + f]!;
      const op = ops[f]!;
      if (op === FieldOp.Min) {
        if (value < scratch[f]!) scratch[f] = value;
      } else if (op === FieldOp.Max) {
        if (value > scratch[f]!) scratch[f] = value;
      } else {
        scratch[f]! += value;
      }
    }
  }
}

function accumulatePending(plan: ViewPlan, set: TileSetPlan, pending: Run, startAt: Micros, asOf: Micros): void {
  const stride = 2 + plan.measureCount;
  const end = pending.head + pending.count;
  for (let i = pending.head; i < end && pending.rows[i * stride]! <= asOf; i++) {
    if (pending.rows[i * stride + 1]! > startAt) take(set, set.scratch, 0, pending.rows, i * stride + 2);
  }
}

function fieldsTakePart(set: TileSetPlan, measures: Float64Array, offset: number): boolean {
  for (let f = 0; f < set.measures.length; f++) if (!Number.isNaN(measures[offset + set.measures[f]!])) return true;
  return false;
}

/** Rows before the first whose leading number is at least `value`. */
function lowerBound(run: Run, stride: number, value: number): number {
  let low = 0;
  let high = run.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (run.rows[(run.head + middle) * stride]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function pendingPosition(
  run: Run,
  stride: number,
  visibleAt: Micros,
  eventAt: Micros,
  measures: Float64Array,
  offset: number,
): number {
  let position = lowerBound(run, stride, visibleAt);
  for (; position < run.count; position++) {
    const row = (run.head + position) * stride;
    if (run.rows[row] !== visibleAt || isAfter(run.rows, row + 1, eventAt, measures, offset, stride - 2)) break;
  }
  return position;
}

/** Whether the stored [eventAt, measures…] at `row` comes after the given one; ties by the measures, so that bytes do not depend on arrival. */
function isAfter(
  rows: Float64Array,
  row: number,
  eventAt: Micros,
  measures: Float64Array,
  offset: number,
  measureCount: number,
): boolean {
  if (rows[row] !== eventAt) return rows[row]! > eventAt;
  for (let i = 0; i < measureCount; i++) {
    const [stored, given] = [rows[row + 1 + i]!, measures[offset + i]!];
    if (stored === given || (stored !== stored && given !== given)) continue;
    // no part before any value
    if (given !== given) return true;
    if (stored !== stored) return false;
    return stored > given;
  }
  return false;
}

/** Makes room for a row at `position` (0…count) and returns where it starts in `run.rows`. */
function openRow(run: Run, stride: number, position: number): number {
  if ((run.head + run.count + 1) * stride > run.rows.length) makeRoom(run, stride);
  const at = (run.head + position) * stride;
  const end = (run.head + run.count) * stride;
  if (at < end) run.rows.copyWithin(at + stride, at, end);
  run.count++;
  return at;
}

/** Moves the rows to the front; into twice the memory unless at least half of it was in front of the head. */
function makeRoom(run: Run, stride: number): void {
  const [start, end] = [run.head * stride, (run.head + run.count) * stride];
  if (run.head > run.count) {
    run.rows.copyWithin(0, start, end);
  } else {
    const rows = new Float64Array(Math.max(4, run.count * 2) * stride);
    rows.set(run.rows.subarray(start, end));
    run.rows = rows;
  }
  run.head = 0;
}

export const STATE_FORMAT = 2;
const HEADER_BYTES = 24;

/**
 * Little-endian, everything on 8-byte boundaries, so that decoding is one copy:
 *   0 format (uint8), 4 layout (uint32), 8 foldedAt (float64), 16 newestAt (float64), then per run its number of rows
 *   (uint32; pending last), padded to 8 bytes, then the rows of each run (float64).
 */
export function encodeState(plan: ViewPlan, state: ViewState): Uint8Array {
  const runs = [...state.runs, state.pending];
  const strides = stridesOf(plan);
  const start = rowsStart(runs.length);
  const numbers = runs.reduce((sum, run, i) => sum + run.count * strides[i]!, 0);
  const bytes = new Uint8Array(start + numbers * 8);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, STATE_FORMAT);
  view.setUint32(4, plan.layout, true);
  view.setFloat64(8, state.foldedAt, true);
  view.setFloat64(16, state.newestAt, true);
  const all = new Float64Array(bytes.buffer, start);
  let at = 0;
  for (let i = 0; i < runs.length; i++) {
    const { rows, head, count } = runs[i]!;
    const stride = strides[i]!;
    view.setUint32(HEADER_BYTES + 4 * i, count, true);
    all.set(rows.subarray(head * stride, (head + count) * stride), at);
    at += count * stride;
  }
  return bytes;
}

/** @throws RangeError when the bytes are of another format or of another view's layout. */
export function decodeState(plan: ViewPlan, bytes: Uint8Array): ViewState {
  // a copy: the caller's bytes need not be aligned, and the state may grow
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  const view = new DataView(buffer);
  const strides = stridesOf(plan);
  const start = rowsStart(strides.length);
  if (buffer.byteLength < start || view.getUint8(0) !== STATE_FORMAT || view.getUint32(4, true) !== plan.layout) {
    throw new RangeError(
      `${plan.id}: these ${buffer.byteLength} bytes are not the state of this view (format ${STATE_FORMAT})`,
    );
  }
  const all = new Float64Array(buffer, start);
  const runs: Run[] = [];
  let at = 0;
  for (let i = 0; i < strides.length; i++) {
    const count = view.getUint32(HEADER_BYTES + 4 * i, true);
    const length = count * strides[i]!;
    runs.push({ rows: length === 0 ? NO_ROWS : all.subarray(at, at + length), head: 0, count });
    at += length;
  }
  if (at !== all.length) throw new RangeError(`${plan.id}: the state has ${all.length} numbers instead of ${at}`);
  const pending = runs.pop()!;
  return { foldedAt: view.getFloat64(8, true), newestAt: view.getFloat64(16, true), runs, pending };
}

function stridesOf(plan: ViewPlan): number[] {
  const strides = plan.tileSets.map((set) => set.stride);
  strides.push(2 + plan.measureCount);
  return strides;
}

function rowsStart(runCount: number): number {
  return HEADER_BYTES + Math.ceil(runCount / 2) * 8;
}
