/**
 * Small worlds for the tests of the history kernel: views with every kind of source and function, rows whose times, keys and
 * identities collide, and what the rules say of them, read off `conformance/pit/README.md` row by row.
 */
import fc from 'fast-check';
import type {
  AggregateSpec,
  EntitySpec,
  FeatureViewSpec,
  SourceSpec,
  WindowSpec,
} from '../../../domain/project/spec.ts';
import type { FeatureStatus } from '../../kernel/view-state.ts';
import { compileHistoryView } from '../compile.ts';
import type { Datum, FactKind } from '../fact.ts';
import { addFact, factOf, type KeyHistory, markerOf } from '../history.ts';
import { type Instant, minus, plus, toInstant } from '../../../domain/instant.ts';
import type { HistoryPlan, OutputValue } from '../plan.ts';
import { routeVersion } from '../row-index.ts';

export interface WorldRow {
  readonly kind: FactKind;
  readonly key: 'A' | 'B' | null;
  readonly id: string;
  readonly eventAt: Instant;
  readonly availableAt: Instant;
  readonly seq: number;
  readonly n: Datum;
  readonly x: Datum;
  readonly t: Datum;
}

export interface World {
  readonly view: FeatureViewSpec;
  readonly source: SourceSpec;
  readonly plan: HistoryPlan;
  /** Every instant of the world is at least this. */
  readonly base: Instant;
  readonly rows: readonly WorldRow[];
}

const ENTITY: EntitySpec = { name: 'e', keys: [{ name: 'key', type: 'str' }], description: '' };

const COLUMNS = { key: 'str', id: 'str', at: 'ts', n: 'i64', x: 'f64', t: 'str', op: 'str' } as const;

export type SourceKind = 'append' | 'tombstones' | 'key_event' | 'row_id';

export function aSource(kind: SourceKind): SourceSpec {
  return {
    name: 's',
    description: '',
    owner: 'o',
    columns: Object.entries(COLUMNS).map(([name, type]) => ({
      name,
      type,
      nullable: true,
      pii: false,
      description: '',
    })),
    eventAt: 'at',
    zone: null,
    availableAt: { op: 'column', name: 'at' },
    eventId: kind === 'key_event' ? ['key', 'at'] : ['id'],
    freshnessSlaSeconds: 1,
    ...(kind === 'key_event' || kind === 'row_id' ? { revisions: 'versions' as const } : {}),
    ...(kind === 'append'
      ? {}
      : { operation: { column: 'op', retract: kind === 'tombstones' ? null : 'retract', tombstone: 'tombstone' } }),
  };
}

export const N = { op: 'column', name: 'n' } as const;
export const X = { op: 'column', name: 'x' } as const;
export const T = { op: 'column', name: 't' } as const;
const FLAG = { op: 'gt', left: N, right: { op: 'literal', value: 0, type: 'i64' } } as const;

export function aFeature(name: string, fn: AggregateSpec['fn'], more: Partial<AggregateSpec> = {}): AggregateSpec {
  return { name, fn, of: null, where: null, windows: [], default: null, description: '', ...more };
}

export function aView(features: readonly AggregateSpec[], more: Partial<FeatureViewSpec> = {}): FeatureViewSpec {
  return {
    name: 'v',
    version: 1,
    entity: 'e',
    source: 's',
    key: ['key'],
    features,
    owner: 'o',
    description: '',
    ...more,
  };
}

const windows = fc
  .array(
    fc.oneof(
      fc.record({
        lengthMicros: fc.integer({ min: 1, max: 20 }),
        hopMicros: fc.constant(null),
        offsetMicros: fc.nat(6),
      }),
      fc.record({ lengthMicros: fc.integer({ min: 1, max: 20 }), hopMicros: fc.integer({ min: 1, max: 8 }) }),
      fc.record({
        lengthMicros: fc.constant(null),
        hopMicros: fc.constant(null),
        offsetMicros: fc.constantFrom(0, 0, 3),
      }),
    ),
    { minLength: 1, maxLength: 2 },
  )
  .map((all) => all.map((window, i): WindowSpec => ({ name: `w${i}`, ...window })));

const value = fc.constantFrom(N, X, T);
const number = fc.constantFrom(N, X);
const shape = fc.oneof(
  fc.constant({ fn: 'count', of: null } as const),
  fc.record({ fn: fc.constantFrom('sum', 'mean', 'stddev_samp', 'variance_pop' as const), of: number }),
  fc.record({ fn: fc.constantFrom('count', 'min', 'max', 'count_distinct' as const), of: value }),
  fc.record({
    fn: fc.constantFrom('first', 'last' as const),
    of: value,
    nulls: fc.constantFrom('keep', 'skip' as const),
  }),
  fc.record({ fn: fc.constant('top_k' as const), of: value, k: fc.constantFrom(1, 2) }),
  fc.record({ fn: fc.constant('share' as const), of: fc.constant(FLAG) }),
  fc.record({ fn: fc.constant('latest' as const), of: value, nulls: fc.constantFrom('keep', 'skip' as const) }),
  fc.record({ fn: fc.constant('latest' as const), of: value }),
);

const feature = fc
  .record({ shape, windows, filtered: fc.boolean(), grouped: fc.boolean() })
  .map(({ shape: { fn, of, ...more }, windows: over, filtered, grouped }) =>
    aFeature('f', fn, {
      of,
      windows: fn === 'latest' ? [] : over,
      where: filtered ? FLAG : null,
      ...(grouped && fn !== 'top_k' && fn !== 'latest' ? { by: T } : {}),
      ...more,
    }),
  );

const LIMIT = 40;
const time = fc.integer({ min: 0, max: LIMIT });
const row = fc.record({
  kind: fc.constantFrom<FactKind[]>('put', 'put', 'put', 'put', 'retract', 'tombstone'),
  key: fc.constantFrom('A', 'A', 'B', null),
  id: fc.constantFrom('1', '2', '3', '4', '5'),
  eventAt: time,
  availableAt: time,
  n: fc.constantFrom(null, -1, 0, 1, 2),
  x: fc.constantFrom(null, 0, 0.25, -1.5, 3, NaN, Infinity),
  t: fc.constantFrom(null, 'a', 'b', '\u{1F600}', '\uFFFD'),
});

/** Year 1, where instants are bigints; the epoch; the last instants that are numbers and the first that are not. */
const BASES = [-62_135_596_800_000_000n, 0, Number.MAX_SAFE_INTEGER - LIMIT / 2];

export const worlds: fc.Arbitrary<World> = fc
  .record({
    kind: fc.constantFrom<SourceKind[]>('append', 'tombstones', 'key_event', 'row_id'),
    features: fc.array(feature, { minLength: 1, maxLength: 3 }),
    exclusive: fc.boolean(),
    ttl: fc.option(fc.nat(15)),
    base: fc.constantFrom<Instant[]>(...BASES),
    rows: fc.array(row, { maxLength: 14 }),
  })
  .map(({ kind, features, exclusive, ttl, base, rows }) => {
    const source = aSource(kind);
    const view = aView(
      features.map((each, i) => ({ ...each, name: `f${i}` })),
      { boundary: exclusive ? 'exclusive' : 'inclusive', ...(ttl === null ? {} : { ttlMicros: ttl }) },
    );
    return {
      view,
      source,
      base,
      plan: compileHistoryView(view, source, ENTITY),
      rows: rows
        .filter((each) => kind === 'key_event' || kind === 'row_id' || each.kind !== 'retract')
        .filter((each) => kind !== 'append' || each.kind !== 'tombstone')
        .map((each, i) => ({
          ...each,
          eventAt: plus(base, each.eventAt),
          availableAt: plus(base, each.availableAt),
          // not in the order of time
          seq: ((i * 7) % 17) + 17 * i,
        })),
    };
  });

export const atOf = (base: Instant): fc.Arbitrary<Instant> =>
  fc.integer({ min: -1, max: LIMIT + 12 }).map((at) => plus(base, at));

/** Feeds rows to the histories of the keys, through the index where rows can move. */
export function feed(
  { plan }: World,
  histories: ReadonlyMap<string, KeyHistory>,
  index: Map<string, Uint8Array>,
  row: WorldRow,
): void {
  const { kind, key, id, eventAt, availableAt, seq } = row;
  const fact = factOf(
    plan,
    { key, id, n: row.n, x: row.x, t: row.t },
    { kind, eventAt, availableAt, seq, identity: id },
  );
  if (plan.identity !== 'row_id' || kind === 'tombstone') {
    if (key !== null) addFact(plan, histories.get(key)!, fact);
    return;
  }
  const routed = routeVersion(index.get(id) ?? null, {
    key: key === null ? null : Buffer.from(key),
    kind,
    availableAt,
    seq,
  });
  index.set(id, routed.index);
  for (const addition of routed.additions) {
    const to = histories.get(Buffer.from(addition.key).toString())!;
    addFact(plan, to, addition.fact === 'self' ? fact : markerOf(id, addition.fact));
  }
}

export interface Expected {
  readonly values: OutputValue[];
  readonly statuses: FeatureStatus[];
}

/** The rules, row by row. */
export function oracle({ view, source, plan, rows }: World, key: string, asOf: Instant, knownSeq = Infinity): Expected {
  const cut = view.boundary === 'exclusive' ? minus(asOf, 1) : asOf;
  const known = rows.filter((each) => each.availableAt <= cut && each.seq <= knownSeq);
  const before = (a: WorldRow, b: WorldRow): boolean =>
    a.eventAt !== b.eventAt
      ? a.eventAt < b.eventAt
      : a.availableAt !== b.availableAt
        ? a.availableAt < b.availableAt
        : a.seq < b.seq;
  const sameRow = (a: WorldRow, b: WorldRow): boolean =>
    plan.identity === 'append'
      ? a === b
      : plan.identity === 'row_id'
        ? a.id === b.id
        : a.key === b.key && a.eventAt === b.eventAt;
  const later = (a: WorldRow, b: WorldRow): boolean =>
    a.availableAt !== b.availableAt ? a.availableAt > b.availableAt : a.seq > b.seq;
  const versions = known.filter(({ kind }) => kind !== 'tombstone');
  const ends = known.filter((each) => each.kind === 'tombstone' && each.key === key && each.eventAt <= cut);
  const live = versions
    .filter((each) => !versions.some((other) => sameRow(each, other) && later(other, each)))
    .filter((each) => each.kind === 'put' && each.key === key && each.eventAt <= cut)
    .filter((each) => !ends.some((end) => before(each, end)))
    .toSorted((a, b) => (before(a, b) ? -1 : 1));
  const seen = live.some(({ eventAt }) => plan.windowReach === null || eventAt > minus(cut, plan.windowReach));

  const values: OutputValue[] = [];
  const statuses: FeatureStatus[] = [];
  for (const { fn, of, where, by, nulls = 'keep', windows: over, k = 0 } of view.features) {
    const cell = (each: WorldRow, expression: typeof of): Datum =>
      expression === null
        ? true
        : expression.op === 'column'
          ? each[expression.name as 'n' | 'x' | 't']
          : each.n === null
            ? null
            : Number(each.n) > 0;
    const passing = live.filter((each) => where === null || cell(each, where) === true);
    if (fn === 'latest') {
      const found = passing.findLast((each) => nulls === 'keep' || cell(each, of) !== null);
      const expired = found && view.ttlMicros !== undefined && minus(asOf, found.eventAt) > view.ttlMicros;
      values.push(found && !expired ? cell(found, of) : null);
      statuses.push(
        !found
          ? ends.length > 0
            ? 'deleted'
            : 'not_found'
          : expired
            ? 'expired'
            : cell(found, of) === null
              ? 'null'
              : 'present',
      );
      continue;
    }
    for (const { lengthMicros, hopMicros, offsetMicros = 0 } of over) {
      const end = minus(cut, offsetMicros);
      const start = lengthMicros === null ? null : floorTo(minus(end, lengthMicros), hopMicros ?? 1);
      const within = passing.filter(({ eventAt }) => eventAt <= end && (start === null || eventAt > start));
      const aggregate = (some: readonly WorldRow[]): OutputValue =>
        fold(
          fn,
          some.map((each) => cell(each, of)),
          nulls,
          k,
        );
      let result: OutputValue;
      if (by === undefined) result = aggregate(within);
      else {
        const groups = [...new Set(within.map((each) => each.t).filter((group) => group !== null))].toSorted(byOrder);
        result = groups.map((group) => [group, aggregate(within.filter((each) => each.t === group)) as Datum]);
      }
      values.push(result);
      statuses.push(!seen ? 'not_found' : result === null ? 'null' : 'present');
    }
  }
  void source;
  return { values, statuses };
}

function floorTo(at: Instant, hop: number): Instant {
  const [whole, by] = [BigInt(at), BigInt(hop)];
  return toInstant(whole - (((whole % by) + by) % by));
}

function fold(fn: AggregateSpec['fn'], cells: readonly Datum[], nulls: 'keep' | 'skip', k: number): OutputValue {
  const present = cells.filter((cell) => cell !== null);
  const numbers = present.map(Number);
  const sum = numbers.reduce((total, each) => total + each, 0);
  const mean = sum / numbers.length;
  // cells of these worlds are multiples of 1/4 and few: these sums have no rounding
  const squares = numbers.reduce((total, each) => total + each * each, 0) * numbers.length - sum * sum;
  switch (fn) {
    case 'count':
      return present.length;
    case 'sum':
      return present.length === 0 ? null : sum;
    case 'mean':
      return present.length === 0 ? null : mean;
    case 'share':
      return present.length === 0 ? null : mean;
    case 'variance_pop':
      return present.length === 0 ? null : squares / numbers.length ** 2;
    case 'stddev_samp':
      return present.length < 2 ? null : rootOfSixteenths(squares * 16, numbers.length * (numbers.length - 1));
    case 'min':
      return present.toSorted(byOrder)[0] ?? null;
    case 'max':
      return present.toSorted(byOrder).at(-1) ?? null;
    case 'first':
      return (nulls === 'keep' ? cells : present)[0] ?? null;
    case 'last':
      return (nulls === 'keep' ? cells : present).at(-1) ?? null;
    case 'count_distinct':
      return new Set(present).size;
    case 'top_k':
      return [...new Set(present)]
        .map((each) => [each, present.filter((other) => Object.is(other, each)).length] as const)
        .toSorted(([a, m], [b, n]) => n - m || byOrder(a, b))
        .slice(0, k);
    default:
      throw new RangeError(`the worlds have no ${fn}`);
  }
}

/**
 * √(sixteenths / 16 / divisor), rounded once: the quotient alone is no double. 80 bits below the point say which double is
 * nearest, since a root half way between two doubles has 54 bits and its square no divisor but powers of two. NaN for a
 * spread that is not finite.
 */
function rootOfSixteenths(sixteenths: number, divisor: number): number {
  if (!Number.isFinite(sixteenths)) return NaN;
  const square = (BigInt(sixteenths) << 160n) / BigInt(16 * divisor);
  let root = 0n;
  for (let bit = 1n << 100n; bit > 0n; bit >>= 1n) if ((root | bit) ** 2n <= square) root |= bit;
  return Number(root) / 2 ** 80;
}

function byOrder(a: NonNullable<Datum>, b: NonNullable<Datum>): number {
  if (typeof a === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b as string));
  const [left, right] = [Number.isNaN(a) ? 2 : 1, Number.isNaN(b) ? 2 : 1];
  return left !== right ? left - right : left === 2 ? 0 : a < b ? -1 : Number(a > b);
}
