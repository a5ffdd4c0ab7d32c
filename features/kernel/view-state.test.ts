import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compileExpression, type Expression, type Row } from '../../domain/project/expression.ts';
import type { AggregateSpec, EntitySpec, FeatureViewSpec, SourceSpec, WindowSpec } from '../../domain/project/spec.ts';
import { compileView, FRACTION_SCALE, type ViewPlan } from './view-plan.ts';
import {
  createState,
  decodeState,
  encodeState,
  FEATURE_STATUSES,
  foldTo,
  insert,
  isSpent,
  read,
  readMissing,
  resetState,
  type ViewState,
} from './view-state.ts';

const SOURCE: SourceSpec = {
  name: 'rides',
  description: '',
  owner: 'tests',
  columns: [
    { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
    { name: 'known', type: 'ts', nullable: false, pii: false, description: '' },
    { name: 'whole', type: 'i64', nullable: false, pii: false, description: '' },
    { name: 'maybe', type: 'i64', nullable: true, pii: false, description: '' },
    { name: 'real', type: 'f64', nullable: true, pii: false, description: '' },
    { name: 'flag', type: 'bool', nullable: true, pii: false, description: '' },
    { name: 'place', type: 'str', nullable: true, pii: false, description: '' },
  ],
  eventAt: 'at',
  zone: null,
  availableAt: { op: 'column', name: 'known' },
  eventId: ['at'],
  freshnessSlaSeconds: 60,
};
const ENTITY: EntitySpec = { name: 'place', keys: [{ name: 'place', type: 'str' }], description: '' };

const column = (name: string): Expression => ({ op: 'column', name });
const over = (length: number, hop: number | null): WindowSpec => ({
  name: `${length}_${hop ?? 'exact'}`,
  lengthMicros: length,
  hopMicros: hop,
});

function aggregate(overrides: Partial<AggregateSpec> & Pick<AggregateSpec, 'fn' | 'windows'>): AggregateSpec {
  const of = overrides.fn === 'count' ? null : overrides.fn === 'share' ? column('flag') : column('whole');
  return { name: overrides.fn, of, where: null, default: null, description: '', ...overrides };
}

function aPlan(features: readonly AggregateSpec[]): ViewPlan {
  const view: FeatureViewSpec = {
    name: 'place_rides',
    version: 1,
    entity: 'place',
    source: 'rides',
    key: ['place'],
    features,
    owner: 'tests',
    description: '',
  };
  return compileView(view, SOURCE, ENTITY);
}

interface Ride {
  readonly row: Row;
  readonly eventAt: number;
  readonly visibleAt: number;
}

const aRide = (eventAt: number, delay: number, fields: Row = {}): Ride => {
  const row = {
    at: eventAt,
    known: eventAt + delay,
    whole: 1,
    maybe: null,
    real: null,
    flag: null,
    place: 'x',
    ...fields,
  };
  return { row, eventAt, visibleAt: eventAt + Math.max(0, delay) };
};

function put(plan: ViewPlan, state: ViewState, { row, eventAt, visibleAt }: Ride): void {
  const measures = new Float64Array(plan.measureCount + 2);
  plan.measureRow(row, measures, 2);
  insert(plan, state, eventAt, visibleAt, measures, 2);
}

function valuesOf(plan: ViewPlan, state: ViewState, asOf: number): (number | null)[] {
  const out = new Float64Array(plan.outputs.length + 1);
  read(plan, state, asOf, out, 1);
  return [...out.subarray(1)].map((value) => (Number.isNaN(value) ? null : value));
}

/** The definition, read off WindowSpec and AggregateSpec, over all events. */
function naive(features: readonly AggregateSpec[], rides: readonly Ride[], asOf: number): (number | null)[] {
  return features.flatMap(({ fn, of, where, windows, default: fallback }) =>
    windows.map(({ lengthMicros: length, hopMicros }) => {
      const lengthMicros = length!;
      const start =
        hopMicros === null ? asOf - lengthMicros : Math.floor((asOf - lengthMicros) / hopMicros) * hopMicros;
      const values = rides
        .filter((ride) => ride.visibleAt <= asOf && ride.eventAt > start && ride.eventAt <= asOf)
        .filter((ride) => where === null || compileExpression(where)(ride.row) === true)
        .map((ride) => (of === null ? 1 : compileExpression(of)(ride.row)))
        .filter((value) => value !== null && (typeof value === 'boolean' || Number.isFinite(value)))
        .map((value) => Number(value) + 0);
      return aggregateOf(fn, values) ?? (fallback as number | null);
    }),
  );
}

function aggregateOf(fn: AggregateSpec['fn'], values: readonly number[]): number | null {
  if (fn === 'count') return values.length;
  if (values.length === 0) return null;
  if (fn === 'min') return Math.min(...values);
  if (fn === 'max') return Math.max(...values);
  // values of these tests are multiples of 2^-10 and small: any order of addition is exact
  const total = values.reduce((sum, value) => sum + value, 0);
  return fn === 'sum' ? total : total / values.length;
}

const windowSpec = fc.oneof(
  fc
    .record({ length: fc.integer({ min: 1, max: 40 }), hop: fc.constantFrom(1, 2, 3, 5, 7, 10) })
    .map(({ length, hop }) => over(length, hop)),
  fc.integer({ min: 1, max: 40 }).map((length) => over(length, null)),
);
const WHERE: readonly (Expression | null)[] = [
  null,
  column('flag'),
  { op: 'gt', left: column('maybe'), right: { op: 'literal', value: 0, type: 'i64' } },
];
const aggregates = fc.array(
  fc
    .record({
      fn: fc.constantFrom<AggregateSpec['fn'][]>('count', 'sum', 'mean', 'min', 'max', 'share'),
      of: fc.constantFrom('whole', 'maybe', 'real'),
      where: fc.constantFrom(...WHERE),
      windows: fc.array(windowSpec, { minLength: 1, maxLength: 3 }),
      default: fc.constantFrom(null, null, -1),
    })
    .map(({ of, ...rest }) =>
      aggregate(rest.fn === 'count' || rest.fn === 'share' ? rest : { ...rest, of: column(of) }),
    ),
  { minLength: 1, maxLength: 4 },
);
// times in a narrow range, so that ties, edges and late events are the rule; also before the epoch
const rides = fc.array(
  fc
    .record({
      at: fc.integer({ min: -30, max: 90 }),
      delay: fc.oneof(fc.constant(0), fc.integer({ min: -5, max: 60 })),
      whole: fc.integer({ min: -4, max: 4 }),
      maybe: fc.option(fc.integer({ min: -2, max: 2 })),
      real: fc.option(
        fc.oneof(
          fc.integer({ min: -4096, max: 4096 }).map((n) => n / 1024),
          fc.constantFrom(NaN, Infinity, -Infinity, -0),
        ),
      ),
      flag: fc.option(fc.boolean()),
    })
    .map(({ at, delay, ...fields }) => aRide(at, delay, fields)),
  { maxLength: 40 },
);
const instants = fc.array(fc.integer({ min: -40, max: 160 }), { minLength: 1, maxLength: 12 });

test('reads equal a scan of all events, wherever the fold points lie', () => {
  fc.assert(
    fc.property(aggregates, rides, instants, instants, (features, events, folds, reads) => {
      const plan = aPlan(features);
      const state = createState(plan);
      const steps = [...folds.map((at) => ({ at, fold: true })), ...reads.map((at) => ({ at, fold: false }))].toSorted(
        (a, b) => a.at - b.at,
      );
      const [early, late] = [events.slice(0, events.length >> 1), events.slice(events.length >> 1)];
      for (const ride of early) put(plan, state, ride);
      for (const { at, fold } of steps) {
        if (fold) foldTo(plan, state, at);
        expect(valuesOf(plan, state, at)).toEqual(naive(features, early, at));
      }
      // what arrives after the fold point counts from there on
      for (const ride of late) put(plan, state, ride);
      const after = Math.max(...steps.map(({ at }) => at));
      for (const at of [after, after + 1, after + 7, after + 33])
        expect(valuesOf(plan, state, at)).toEqual(naive(features, events, at));
    }),
    { numRuns: 400 },
  );
});

test('a replay in visible order, folding before every event, equals the scan', () => {
  fc.assert(
    fc.property(aggregates, rides, instants, (features, events, reads) => {
      const plan = aPlan(features);
      const state = createState(plan);
      const ordered = events.toSorted((a, b) => a.visibleAt - b.visibleAt);
      let next = 0;
      for (const asOf of reads.toSorted((a, b) => a - b)) {
        while (next < ordered.length && ordered[next]!.visibleAt <= asOf) {
          foldTo(plan, state, ordered[next]!.visibleAt);
          put(plan, state, ordered[next++]!);
        }
        expect(valuesOf(plan, state, asOf)).toEqual(naive(features, events, asOf));
      }
    }),
    { numRuns: 200 },
  );
});

test('the state is the same bytes for every order of arrival and every way of folding', () => {
  const shuffled = rides.chain((events) =>
    fc.tuple(fc.constant(events), fc.shuffledSubarray(events, { minLength: events.length, maxLength: events.length })),
  );
  fc.assert(
    fc.property(aggregates, shuffled, instants, fc.nat(40), (features, [events, other], folds, cut) => {
      const plan = aPlan(features);
      const last = Math.max(...folds);
      const [left, right] = [createState(plan), createState(plan)];
      for (const ride of events) put(plan, left, ride);
      foldTo(plan, left, last);
      for (const ride of other.slice(0, cut)) put(plan, right, ride);
      for (const at of folds) foldTo(plan, right, at);
      for (const ride of other.slice(cut)) put(plan, right, ride);
      expect(encodeState(plan, right)).toEqual(encodeState(plan, left));
    }),
    { numRuns: 300 },
  );
});

test('sums of any doubles do not depend on the order, and are within the grid of the exact sum', () => {
  const features = [aggregate({ fn: 'sum', of: column('real'), windows: [over(100, 10), over(100, null)] })];
  const plan = aPlan(features);
  const doubles = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(doubles, (values) => {
      const [forward, backward] = [createState(plan), createState(plan)];
      const events = values.map((real, i) => aRide(1 + (i % 7), 0, { real }));
      for (const ride of events) put(plan, forward, ride);
      for (const ride of events.toReversed()) {
        foldTo(plan, backward, 50);
        put(plan, backward, ride);
      }
      const [a, b] = [valuesOf(plan, forward, 50), valuesOf(plan, backward, 50)];
      expect(a).toEqual(b);
      expect(a[0]).toBe(a[1]);
      const exact = values.reduce((sum, value) => sum + value, 0);
      // half a grid step per value, and the rounding of the plain sum itself
      expect(Math.abs(a[0]! - exact)).toBeLessThanOrEqual(
        (values.length * 0.5) / FRACTION_SCALE + values.length * 1e-9,
      );
    }),
  );
});

test('a state survives its bytes, also bytes that start at an odd offset, and goes on from there', () => {
  fc.assert(
    fc.property(aggregates, rides, rides, fc.integer({ min: -40, max: 120 }), (features, events, more, at) => {
      const plan = aPlan(features);
      const state = createState(plan);
      for (const ride of events) put(plan, state, ride);
      foldTo(plan, state, at);
      const bytes = encodeState(plan, state);
      const shifted = new Uint8Array(bytes.length + 3);
      shifted.set(bytes, 3);
      const copy = decodeState(plan, shifted.subarray(3));
      expect(encodeState(plan, copy)).toEqual(bytes);
      for (const ride of more) put(plan, copy, ride);
      expect(valuesOf(plan, copy, at + 5)).toEqual(naive(features, [...events, ...more], at + 5));
      expect(encodeState(plan, state)).toEqual(bytes);
    }),
    { numRuns: 200 },
  );
});

test('bytes of another view or of nothing are refused', () => {
  const [hourly, daily] = [
    aPlan([aggregate({ fn: 'count', windows: [over(10, 1)] })]),
    aPlan([aggregate({ fn: 'count', windows: [over(10, 2)] })]),
  ];
  expect(() => decodeState(daily, encodeState(hourly, createState(hourly)))).toThrow(RangeError);
  expect(() => decodeState(daily, new Uint8Array(3))).toThrow(RangeError);
});

test('an exact window takes the event at t and leaves out the one at t − length', () => {
  const plan = aPlan([aggregate({ fn: 'count', windows: [over(100, null)] })]);
  for (const [eventAt, expected] of [
    [399, 0],
    [400, 0],
    [401, 1],
    [499, 1],
    [500, 1],
    [501, 0],
  ] as const) {
    const state = createState(plan);
    put(plan, state, aRide(eventAt, 0));
    expect(valuesOf(plan, state, 500), `event at ${eventAt}`).toEqual([expected]);
  }
});

test('a window with a hop starts on the hop boundary at or before t − length, and leaves the boundary itself out', () => {
  const plan = aPlan([aggregate({ fn: 'count', windows: [over(100, 60)] })]);
  // at 500 the start is floor(400 / 60) · 60 = 360; at 520 it is exactly 420
  for (const [asOf, eventAt, expected] of [
    [500, 359, 0],
    [500, 360, 0],
    [500, 361, 1],
    [500, 500, 1],
    [500, 501, 0],
    [519, 361, 1],
    [520, 361, 0],
    [520, 420, 0],
    [520, 421, 1],
  ] as const) {
    const state = createState(plan);
    put(plan, state, aRide(eventAt, 0));
    expect(valuesOf(plan, state, asOf), `event at ${eventAt}, read at ${asOf}`).toEqual([expected]);
  }
});

test('an event counts from the microsecond it becomes visible', () => {
  const plan = aPlan([aggregate({ fn: 'count', windows: [over(100, 10), over(100, null)] })]);
  const state = createState(plan);
  put(plan, state, aRide(50, 20));
  expect([69, 70, 71].map((asOf) => valuesOf(plan, state, asOf))).toEqual([
    [0, 0],
    [1, 1],
    [1, 1],
  ]);
});

test('an event recorded as available before it happened waits until it has happened', () => {
  const plan = aPlan([aggregate({ fn: 'count', windows: [over(100, null)] })]);
  const state = createState(plan);
  put(plan, state, aRide(50, -20));
  expect([49, 50].map((asOf) => valuesOf(plan, state, asOf))).toEqual([[0], [1]]);
});

test('a read before the fold point is refused', () => {
  const plan = aPlan([aggregate({ fn: 'count', windows: [over(10, 1)] })]);
  const state = createState(plan);
  foldTo(plan, state, 100);
  expect(() => valuesOf(plan, state, 99)).toThrow(RangeError);
});

test('an empty window is a count of 0 and otherwise null, or the default', () => {
  const windows = [over(10, 1)];
  const plan = aPlan([
    aggregate({ fn: 'count', windows }),
    aggregate({ fn: 'mean', windows }),
    aggregate({ fn: 'max', windows, default: 7 }),
  ]);
  const out = new Float64Array(3);
  const statuses = new Uint8Array(3);
  const state = createState(plan);
  put(plan, state, aRide(5, 0));
  // within the reach of a hop, but just outside of the window
  read(plan, state, 15, out, 0, statuses);
  expect([...out]).toEqual([0, NaN, 7]);
  expect([...statuses].map((status) => FEATURE_STATUSES[status])).toEqual(['present', 'null', 'defaulted']);
  readMissing(plan, out, 0, statuses);
  expect([...out]).toEqual([0, NaN, 7]);
  expect([...statuses].map((status) => FEATURE_STATUSES[status])).toEqual(['not_found', 'not_found', 'not_found']);
});

test('a key whose events are all out of reach reads as one without events, folded or not', () => {
  const never = aggregate({ fn: 'count', windows: [over(10, 1)], where: { op: 'isNull', of: column('whole') } });
  const plan = aPlan([never]);
  const statusesAt = (state: ViewState, ...asOfs: number[]): string[] =>
    asOfs.map((asOf) => {
      const statuses = new Uint8Array(1);
      read(plan, state, asOf, new Float64Array(1), 0, statuses);
      return FEATURE_STATUSES[statuses[0]!]!;
    });
  const state = createState(plan);
  // no feature counts it, and it is an event all the same
  put(plan, state, aRide(5, 0));
  expect(statusesAt(state, 4, 15, 16)).toEqual(['not_found', 'present', 'not_found']);
  foldTo(plan, state, 6);
  expect(statusesAt(state, 15, 16)).toEqual(['present', 'not_found']);
  expect([15, 16].map((at) => isSpent(plan, state, at))).toEqual([false, true]);
});

test('features over rows that always take part share one count', () => {
  const windows = [over(24, 1), over(168, 24)];
  const plan = aPlan([
    aggregate({ fn: 'count', windows }),
    aggregate({ fn: 'mean', windows }),
    aggregate({
      fn: 'share',
      of: { op: 'gt', left: column('whole'), right: { op: 'literal', value: 2, type: 'i64' } },
      windows,
    }),
  ]);
  expect(plan.tileSets.map((set) => set.stride)).toEqual([4, 4]);
  expect(plan.outputs.map((output) => output.name)).toEqual([
    'count__24_1',
    'count__168_24',
    'mean__24_1',
    'mean__168_24',
    'share__24_1',
    'share__168_24',
  ]);
  expect(plan.horizonMicros).toBe(192);
});

test('state is spent once no window can reach its last event', () => {
  const plan = aPlan([aggregate({ fn: 'count', windows: [over(100, 60), over(50, null)] })]);
  const state = createState(plan);
  put(plan, state, aRide(361, 0));
  expect(isSpent(plan, state, 400)).toBe(false);
  foldTo(plan, state, 400);
  expect([520, 521].map((at) => isSpent(plan, state, at))).toEqual([false, true]);
  resetState(state);
  expect(encodeState(plan, state)).toEqual(encodeState(plan, createState(plan)));
});
