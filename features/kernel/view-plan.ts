/**
 * A feature view, compiled: which numbers an event contributes (`measures`), which accumulators the state of a key holds,
 * and how each output is read from them.
 *
 * Windows. At `t` an event takes part when `visibleAt ≤ t` and its `eventAt` is in
 *   without hop  (t − length, t]               the event at t − length is out, the one a microsecond later is in
 *   with hop     (⌊(t − length)/hop⌋·hop, t]   the event exactly on that boundary is out
 * Tile k of a hop therefore holds the events of (k·hop, (k+1)·hop].
 *
 * Order. Accumulators give the same bits in every order of events: counts and integer sums are exact below 2^53; an `f64`
 * is summed in fixed point (whole part and multiples of 2^-32, see `FRACTION_SCALE`), each part exact; min and max do not
 * care. A value that is null, NaN or infinite takes no part, and −0 counts as 0.
 */
import { canonicalJson } from '../../domain/canonical-json.ts';
import {
  type ColumnType,
  compileExpression,
  type Expression,
  type Row,
  toSql,
  typeOf,
} from '../../domain/project/expression.ts';
import type {
  AggregateFunction,
  AggregateSpec,
  EntitySpec,
  FeatureViewSpec,
  KeyPart,
  SourceSpec,
} from '../../domain/project/spec.ts';
import { versioned } from '../../domain/project/spec.ts';
import { fingerprint } from './fingerprint.ts';

/**
 * Fractions of an `f64` sum are kept as multiples of 2^-32 (2.3e-10, rounded to nearest): sums of up to 2^21 events in a
 * window are exact in that grid and so the same in every order.
 */
export const FRACTION_SCALE = 2 ** 32;

/** How a field of a tile takes in a measure. */
export const FieldOp = { Count: 0, Sum: 1, Fraction: 2, Min: 3, Max: 4, WholeSum: 5 } as const;

export interface ViewOutput {
  readonly feature: string;
  readonly window: string;
  /** `<feature>__<window>` */
  readonly name: string;
  readonly fn: AggregateFunction;
  readonly default: number | null;
}

/** Outputs that share a window, read together. Field numbers are positions in `TileSetPlan.fields`; −1: not used. */
export interface WindowPlan {
  readonly lengthMicros: number;
  readonly outputs: readonly {
    readonly output: number;
    readonly fn: AggregateFunction;
    readonly default: number | null;
    readonly count: number;
    readonly value: number;
    readonly fraction: number;
  }[];
}

/** State of all windows with one hop (or, hop null, of the exact windows, which keep events instead of tiles). */
export interface TileSetPlan {
  readonly hopMicros: number | null;
  /** The longest window: what ended before it can be dropped. */
  readonly lengthMicros: number;
  readonly ops: Uint8Array;
  /** The measure each field takes in. */
  readonly measures: Uint16Array;
  /** A field's value over no events. */
  readonly initial: Float64Array;
  /** Numbers per row of state: the tile index or eventAt, then the fields (tiles) or all measures (events). */
  readonly stride: number;
  readonly windows: readonly WindowPlan[];
  /** Working space of `read`, one number per field. */
  readonly scratch: Float64Array;
}

export interface ViewPlan {
  /** `name@version` */
  readonly id: string;
  readonly source: string;
  readonly entity: string;
  /** Source columns that hold the key, in the order of `keyParts`. */
  readonly keyColumns: readonly string[];
  readonly keyParts: readonly KeyPart[];
  /** Features in their declared order, each with its windows in theirs. */
  readonly outputs: readonly ViewOutput[];
  readonly measureCount: number;
  /** What an event contributes: `measureCount` numbers into `into` from `offset` on; NaN: takes no part. */
  measureRow(row: Row, into: Float64Array, offset: number): void;
  /** The same as DuckDB expressions over the log's columns: DOUBLE, null where `measureRow` gives NaN. */
  readonly measureSql: readonly string[];
  /** Events with `eventAt ≤ asOf − horizonMicros` are in no window at `asOf`. */
  readonly horizonMicros: number;
  readonly tileSets: readonly TileSetPlan[];
  /** Says how state is laid out; stored with the state, so that bytes of another plan are refused. */
  readonly layout: number;
}

interface Measure {
  readonly key: string;
  readonly read: (row: Row) => number;
  readonly sql: string;
}

export function compileView(view: FeatureViewSpec, source: SourceSpec, entity: EntitySpec): ViewPlan {
  const types = new Map(source.columns.map((column) => [column.name, column.type]));
  const required = new Set(source.columns.filter((column) => !column.nullable).map((column) => column.name));
  const measures: Measure[] = [];
  const measureIndexes = new Map<string, number>();
  const tileSets = new Map<number | null, TileSetBuilder>();
  const outputs: ViewOutput[] = [];

  for (const feature of view.features) {
    const measure = measureOf(feature, types);
    const at = measureIndexes.get(measure.key) ?? measures.push(measure) - 1;
    measureIndexes.set(measure.key, at);
    const participation = participationKey(feature, types, required);
    const fallback = feature.default;
    if (fallback !== null && typeof fallback !== 'number') throw needsHistory(view, feature);
    for (const window of feature.windows) {
      if (window.lengthMicros === null) throw needsHistory(view, feature);
      let set = tileSets.get(window.hopMicros);
      if (!set) tileSets.set(window.hopMicros, (set = new TileSetBuilder(window.hopMicros)));
      const output =
        outputs.push({
          feature: feature.name,
          window: window.name,
          name: `${feature.name}__${window.name}`,
          fn: feature.fn,
          default: fallback,
        }) - 1;
      const needsCount = feature.fn !== 'min' && feature.fn !== 'max';
      const fractional = feature.of !== null && feature.fn !== 'share' && typeOf(feature.of, types) === 'f64';
      const sums = feature.fn === 'sum' || feature.fn === 'mean' || feature.fn === 'share';
      set.window(window.lengthMicros).push({
        output,
        fn: feature.fn,
        default: fallback,
        count: needsCount ? set.field(FieldOp.Count, at, participation) : -1,
        value: sums
          ? set.field(fractional ? FieldOp.WholeSum : FieldOp.Sum, at)
          : needsCount
            ? -1
            : set.field(feature.fn === 'min' ? FieldOp.Min : FieldOp.Max, at),
        fraction: sums && fractional ? set.field(FieldOp.Fraction, at) : -1,
      });
    }
  }

  const plans = [...tileSets.values()].map((set) => set.build(measures.length));
  const readers = measures.map((measure) => measure.read);
  return {
    id: versioned(view),
    source: view.source,
    entity: view.entity,
    keyColumns: view.key,
    keyParts: entity.keys,
    outputs,
    measureCount: measures.length,
    measureRow(row, into, offset) {
      for (let i = 0; i < readers.length; i++) into[offset + i] = readers[i]!(row);
    },
    measureSql: measures.map((measure) => measure.sql),
    horizonMicros: Math.max(...plans.map((set) => set.lengthMicros + (set.hopMicros ?? 0))),
    tileSets: plans,
    layout: layoutNumber(plans, measures.length),
  };
}

function needsHistory(view: FeatureViewSpec, { name, fn }: AggregateSpec): RangeError {
  return new RangeError(
    `${versioned(view)}: "${name}" (${fn}) cannot be kept in tiles; compile the view for the history kernel`,
  );
}

class TileSetBuilder {
  readonly #hopMicros: number | null;
  readonly #fields: { readonly op: number; readonly measure: number }[] = [];
  readonly #fieldIndexes = new Map<string, number>();
  readonly #windows = new Map<number, WindowPlan['outputs'][number][]>();

  constructor(hopMicros: number | null) {
    this.#hopMicros = hopMicros;
  }

  /** The field of that operation and measure; counts over the same participation are one field. */
  field(op: number, measure: number, participation = `measure ${measure}`): number {
    const key = `${op} ${participation}`;
    const known = this.#fieldIndexes.get(key);
    if (known !== undefined) return known;
    const index = this.#fields.push({ op, measure }) - 1;
    this.#fieldIndexes.set(key, index);
    return index;
  }

  window(lengthMicros: number): WindowPlan['outputs'][number][] {
    const known = this.#windows.get(lengthMicros);
    if (known) return known;
    const outputs: WindowPlan['outputs'][number][] = [];
    this.#windows.set(lengthMicros, outputs);
    return outputs;
  }

  build(measureCount: number): TileSetPlan {
    const initial = { [FieldOp.Min]: Infinity, [FieldOp.Max]: -Infinity } as Partial<Record<number, number>>;
    return {
      hopMicros: this.#hopMicros,
      lengthMicros: Math.max(...this.#windows.keys()),
      ops: Uint8Array.from(this.#fields, (field) => field.op),
      measures: Uint16Array.from(this.#fields, (field) => field.measure),
      initial: Float64Array.from(this.#fields, (field) => initial[field.op] ?? 0),
      stride: 1 + (this.#hopMicros === null ? measureCount : this.#fields.length),
      windows: [...this.#windows].map(([lengthMicros, outputs]) => ({ lengthMicros, outputs })),
      scratch: new Float64Array(this.#fields.length),
    };
  }
}

function measureOf({ fn, of, where }: AggregateSpec, types: ReadonlyMap<string, ColumnType>): Measure {
  const kind = of === null ? 'one' : fn === 'share' ? 'condition' : 'number';
  const value = of === null ? null : compileExpression(of, types);
  const holds = where === null ? null : compileExpression(where, types);
  const valueSql =
    of === null
      ? 'CAST(1 AS DOUBLE)'
      : kind === 'condition'
        ? `(CASE WHEN ${toSql(of)} THEN CAST(1 AS DOUBLE) WHEN NOT ${toSql(of)} THEN CAST(0 AS DOUBLE) END)`
        : finiteSql(`CAST(${toSql(of)} AS DOUBLE)`);
  return {
    key: canonicalJson({ kind, of, where }),
    read: (row) => {
      if (holds !== null && holds(row) !== true) return NaN;
      if (value === null) return 1;
      const number = value(row);
      if (typeof number === 'boolean') return number ? 1 : 0;
      return Number.isFinite(number) ? (number as number) : NaN;
    },
    sql: where === null ? valueSql : `(CASE WHEN ${toSql(where)} THEN ${valueSql} END)`,
  };
}

function finiteSql(value: string): string {
  return `(CASE WHEN ISFINITE(${value}) THEN ${value} END)`;
}

/** Features whose rows take part under the same condition share their count. */
function participationKey(
  { of, where }: AggregateSpec,
  types: ReadonlyMap<string, ColumnType>,
  required: ReadonlySet<string>,
): string {
  return canonicalJson({ where, of: of === null || isNeverNull(of, types, required) ? null : of });
}

/** True when the source's contract rules out null (and, since `f64` may be NaN, only for the other types). */
function isNeverNull(of: Expression, types: ReadonlyMap<string, ColumnType>, required: ReadonlySet<string>): boolean {
  const all = (...parts: readonly Expression[]): boolean => parts.every((part) => isNeverNull(part, types, required));
  switch (of.op) {
    case 'column':
      return required.has(of.name) && types.get(of.name) !== 'f64';
    case 'literal':
      return of.value !== null && of.type !== 'f64';
    case 'isNull':
      return true;
    case 'div':
    case 'ln1p':
    case 'plusMinutes':
      return false;
    case 'add':
    case 'sub':
    case 'mul':
    case 'eq':
    case 'ne':
    case 'lt':
    case 'le':
    case 'gt':
    case 'ge':
      return all(of.left, of.right);
    case 'and':
    case 'or':
    case 'greatest':
    case 'least':
      return all(...of.of);
    case 'coalesce':
      return of.of.some((part) => all(part));
    case 'not':
    case 'abs':
    case 'hourOfDay':
    case 'dayOfWeek':
      return all(of.of);
  }
}

/** Over everything that decides how state bytes are read. */
function layoutNumber(sets: readonly TileSetPlan[], measureCount: number): number {
  return fingerprint(
    canonicalJson({
      measureCount,
      sets: sets.map((set) => [set.hopMicros, set.lengthMicros, [...set.ops], [...set.measures]]),
    }),
  );
}
