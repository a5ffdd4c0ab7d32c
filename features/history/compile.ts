/** A feature view compiled for the history kernel; what it refuses here, `serin check` has refused before. */
import { canonicalJson } from '../../domain/canonical-json.ts';
import {
  type ColumnType,
  compileExpression,
  type Expression,
  type Row,
  toSql,
  typeOf,
} from '../../domain/project/expression.ts';
import type { AggregateSpec, EntitySpec, FeatureViewSpec, SourceSpec, WindowSpec } from '../../domain/project/spec.ts';
import { versioned } from '../../domain/project/spec.ts';
import { isAppendOnly } from '../../domain/project/view-kernel.ts';
import { fingerprint } from '../kernel/fingerprint.ts';
import { type Aggregate, aggregateOf, outputType } from './aggregates.ts';
import type { Datum } from './fact.ts';
import { compareInstants, type Instant, plus, toInstant } from '../../domain/instant.ts';
import type {
  HistoryOutput,
  HistoryPlan,
  HistoryWindow,
  Identity,
  OutputType,
  Slot,
  TileField,
  TileSet,
  WindowReading,
} from './plan.ts';

const DEFAULT_UNIT_MICROS = 1_000_000;
const DEFAULT_EXACT_UP_TO = 1024;

/** @throws RangeError for a view that means nothing: a window without a positive length, a hop with an offset, a rate over all of the past */
export function compileHistoryView(view: FeatureViewSpec, source: SourceSpec, entity: EntitySpec): HistoryPlan {
  const types = new Map(source.columns.map((column) => [column.name, column.type]));
  const slots = new SlotList(types);
  const outputs = view.features.flatMap((feature) => outputsOf(view, feature, slots));
  const appendOnly = isAppendOnly(source);
  const ttl = view.ttlMicros === undefined ? null : toInstant(view.ttlMicros);
  const { tileSets, tileFields } = tilesOf(outputs, appendOnly);
  const aggregates = outputs.map((output) =>
    aggregateOf(output, slots.typeAt(output.slot), output.by < 0 ? null : slots.typeAt(output.by)),
  );
  const readings = readingsOf(outputs, aggregates, tileFields);
  const latest = outputs.flatMap((output, index) => (output.over === null ? [index] : []));
  const windowReach = furthest(outputs.map(({ over }) => (over === null ? 0 : reachOf(over))));
  const identity = identityOf(view, source);
  const boundary = view.boundary ?? 'inclusive';
  return {
    id: versioned(view),
    source: view.source,
    entity: view.entity,
    keyColumns: view.key,
    keyParts: entity.keys,
    identity,
    boundary,
    ttl,
    slots: slots.all,
    outputs,
    aggregates,
    appendOnly,
    tileSets,
    readings,
    latest,
    // age ttl is alive, also seen from an exclusive cut a microsecond earlier
    horizon: furthest([windowReach, latest.length === 0 ? 0 : ttl === null ? null : plus(ttl, 1)]),
    windowReach,
    factReach: furthest(readings.map(({ over, tiles }) => (tiles === null ? reachOf(over) : 0))),
    layout: layoutOf(outputs, slots, { identity, boundary, appendOnly, ttl: ttl === null ? null : String(ttl) }),
  };
}

/** How versions of a row find each other among the facts of one key of the view. */
export function identityOf(view: Pick<FeatureViewSpec, 'key'>, source: SourceSpec): Identity {
  if (source.revisions !== 'versions' && (source.operation?.retract ?? null) === null) return 'append';
  const id = new Set(source.eventId);
  const keyAndTime = new Set([...view.key, source.eventAt]);
  return id.size === keyAndTime.size && [...id].every((name) => keyAndTime.has(name)) ? 'key_event' : 'row_id';
}

function outputsOf(view: FeatureViewSpec, feature: AggregateSpec, slots: SlotList): HistoryOutput[] {
  const slot = feature.of === null ? -1 : slots.add(feature.of);
  const where = feature.where === null ? -1 : slots.add(feature.where);
  const by = feature.by === undefined ? -1 : slots.add(feature.by);
  const scalar = outputType(feature.fn, slots.typeAt(slot));
  const output = (window: WindowSpec | null): HistoryOutput => ({
    feature: feature.name,
    window: window?.name ?? null,
    name: window === null ? feature.name : `${feature.name}__${window.name}`,
    type: by < 0 ? scalar : pairsOf(slots.typeAt(by)!, scalar),
    fn: feature.fn,
    slot,
    where,
    by,
    over: window === null ? null : windowOf(view, feature, window),
    nulls: feature.nulls ?? 'keep',
    unit: feature.unitMicros ?? DEFAULT_UNIT_MICROS,
    k: feature.k ?? 0,
    q: feature.q ?? 0,
    exactUpTo: feature.exactUpTo ?? DEFAULT_EXACT_UP_TO,
    default: fallbackOf(feature.default, scalar),
  });
  return feature.fn === 'latest' ? [output(null)] : feature.windows.map(output);
}

/** As in literals, text stands for whole numbers beyond 2^53, NaN and the infinities. */
function fallbackOf(value: AggregateSpec['default'], type: OutputType): Datum {
  if (typeof value !== 'string' || typeof type === 'object' || type === 'str') return value;
  return type === 'f64' ? Number(value) : toInstant(BigInt(value));
}

function pairsOf(by: ColumnType, of: OutputType): OutputType {
  if (typeof of === 'object') throw new RangeError('a list of pairs cannot be grouped');
  return { list: 'pairs', by, of };
}

function windowOf(view: FeatureViewSpec, { name, fn }: AggregateSpec, window: WindowSpec): HistoryWindow {
  const { lengthMicros, hopMicros, offsetMicros = 0 } = window;
  const refuse = (rule: string): RangeError =>
    new RangeError(`${versioned(view)}: ${name} over ${window.name}: ${rule}`);
  if (lengthMicros !== null && !(lengthMicros > 0)) throw refuse('a window has a positive length');
  if (hopMicros !== null && (offsetMicros !== 0 || lengthMicros === null))
    throw refuse('a hop goes with a plain length');
  if (offsetMicros < 0) throw refuse('a window is moved back, not forward');
  if (fn === 'rate' && lengthMicros === null) throw refuse('there is no rate over all of the past');
  return {
    length: lengthMicros === null ? null : toInstant(lengthMicros),
    hop: hopMicros,
    offset: toInstant(offsetMicros),
  };
}

function reachOf({ length, hop, offset }: HistoryWindow): Instant | null {
  return length === null ? null : plus(plus(length, hop ?? 0), offset);
}

/** The greatest; null is beyond all. */
function furthest(reaches: readonly (Instant | null)[]): Instant | null {
  let most: Instant = 0;
  for (const reach of reaches) {
    if (reach === null) return null;
    if (compareInstants(reach, most) > 0) most = reach;
  }
  return most;
}

/** Windows with a hop and windows over all of the past need no facts where nothing is ever taken back. */
function tilesOf(
  outputs: readonly HistoryOutput[],
  appendOnly: boolean,
): { tileSets: TileSet[]; tileFields: (TileField | null)[] } {
  const sets = new Map<
    string,
    { hop: number | null; offset: Instant; length: Instant | null; fields: Map<string, number> }
  >();
  const tileFields = outputs.map((output, index): TileField | null => {
    const { over } = output;
    if (!appendOnly || over === null || (over.hop === null && over.length !== null)) return null;
    const key = `${over.hop} ${over.offset}`;
    let set = sets.get(key);
    if (!set) sets.set(key, (set = { ...over, fields: new Map() }));
    if (set.length !== null && over.length !== null && over.length > set.length) set.length = over.length;
    const same = accumulatorOf(output);
    if (!set.fields.has(same)) set.fields.set(same, index);
    return { set: [...sets.keys()].indexOf(key), field: [...set.fields.keys()].indexOf(same) };
  });
  return { tileSets: [...sets.values()].map((set) => ({ ...set, fields: [...set.fields.values()] })), tileFields };
}

/** Outputs that add up the same have one accumulator for each window. */
function readingsOf(
  outputs: readonly HistoryOutput[],
  aggregates: readonly Aggregate[],
  tileFields: readonly (TileField | null)[],
): (WindowReading & { outputs: number[] })[] {
  const readings = new Map<string, WindowReading & { outputs: number[] }>();
  outputs.forEach((output, index) => {
    const { over } = output;
    if (over === null) return;
    const same = `${accumulatorOf(output)} ${over.length} ${over.hop} ${over.offset}`;
    const reading = readings.get(same);
    if (reading) reading.outputs.push(index);
    else {
      const tiles = tileFields[index]!;
      const isSum = aggregates[index]!.create().remove !== undefined;
      readings.set(same, { over, outputs: [index], tiles, slides: isSum && tiles === null && over.length !== null });
    }
  });
  return [...readings.values()];
}

/** Names what an output accumulates. */
function accumulatorOf({ fn, slot, where, by, nulls, exactUpTo }: HistoryOutput): string {
  const moments = fn.startsWith('variance') || fn.startsWith('stddev');
  const kind = moments ? 'moments' : fn === 'rate' ? 'count' : fn === 'mean' ? 'sum' : fn;
  return [kind, slot, where, by, nulls, exactUpTo].join(' ');
}

class SlotList {
  readonly all: Slot[] = [];
  readonly keys: string[] = [];
  readonly #types: ReadonlyMap<string, ColumnType>;

  constructor(types: ReadonlyMap<string, ColumnType>) {
    this.#types = types;
  }

  add(expression: Expression): number {
    const key = canonicalJson(expression);
    const known = this.keys.indexOf(key);
    if (known >= 0) return known;
    const type = typeOf(expression, this.#types);
    this.keys.push(key);
    return this.all.push({ type, read: readerOf(expression, type, this.#types), sql: toSql(expression) }) - 1;
  }

  typeAt(slot: number): ColumnType | null {
    return slot < 0 ? null : this.all[slot]!.type;
  }
}

function readerOf(expression: Expression, type: ColumnType, types: ReadonlyMap<string, ColumnType>): Slot['read'] {
  // events have bigints where a number is not exact; expressions pass them through
  const evaluate = compileExpression(expression, types) as (row: Row) => Datum;
  return (row) => {
    const value = evaluate(row as Row);
    if (value === null) return null;
    switch (type) {
      case 'f64':
        // a sum, so that −0 is 0
        return Number(value) + 0;
      case 'i64':
      case 'ts':
        // arithmetic on times may leave the numbers that are exact
        return typeof value === 'number' && !Number.isSafeInteger(value) ? bigWhole(value) : value;
      case 'bool':
      case 'str':
        return value;
    }
  };
}

function bigWhole(value: number): Datum {
  return Number.isInteger(value) ? toInstant(BigInt(value)) : null;
}

function layoutOf(outputs: readonly HistoryOutput[], slots: SlotList, rest: object): number {
  return fingerprint(
    canonicalJson({
      ...rest,
      slots: slots.all.map(({ type }, i) => [type, slots.keys[i]]),
      outputs: outputs.map(({ fn, slot, where, by, nulls, exactUpTo, over }) => [
        [fn, slot, where, by, nulls, exactUpTo],
        over && [over.length === null ? null : String(over.length), over.hop, String(over.offset)],
      ]),
    }),
  );
}
