import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AggregateSpec, ProjectSpec, SourceSpec, WindowSpec } from '../../domain/project/spec.ts';
import { PROJECT_FORMAT } from '../../domain/project/spec.ts';
import type { Expression } from '../../domain/project/expression.ts';
import { MICROS_PER_HOUR, MICROS_PER_MINUTE } from '../../domain/time.ts';
import { decodeKey } from '../kernel/key-encoding.ts';
import { MemoryStore } from '../../test/setup/memory-store.ts';
import { FEATURE_STATUSES } from '../kernel/view-state.ts';
import { applyEvents, FOLD_LAG_MICROS, type PushedEvent } from '../online/apply-events.ts';
import { compileFeatureReader } from './feature-reader.ts';

const column = (name: string): Expression => ({ op: 'column', name });
const windows: WindowSpec[] = [
  { name: '2h', lengthMicros: 2 * MICROS_PER_HOUR, hopMicros: null },
  { name: '6h', lengthMicros: 6 * MICROS_PER_HOUR, hopMicros: MICROS_PER_HOUR },
];
const aggregate = (
  name: string,
  fn: AggregateSpec['fn'],
  of: Expression | null,
  overrides: Partial<AggregateSpec> = {},
): AggregateSpec => ({
  name,
  fn,
  of,
  where: null,
  windows,
  default: null,
  description: '',
  ...overrides,
});
const isLate: Expression = { op: 'ge', left: column('delay'), right: { op: 'literal', value: 15, type: 'i64' } };

const FLIGHTS: SourceSpec = {
  name: 'flights',
  description: '',
  owner: 'tests',
  columns: [
    { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
    { name: 'known', type: 'ts', nullable: false, pii: false, description: '' },
    { name: 'airport', type: 'str', nullable: true, pii: false, description: '' },
    { name: 'delay', type: 'i64', nullable: true, pii: false, description: '' },
  ],
  eventAt: 'at',
  zone: null,
  availableAt: column('known'),
  eventId: ['at'],
  freshnessSlaSeconds: 60,
};

const PROJECT: ProjectSpec = {
  format: PROJECT_FORMAT,
  name: 'tests',
  description: '',
  sources: [FLIGHTS],
  entities: [{ name: 'airport', keys: [{ name: 'airport', type: 'str' }], description: '' }],
  views: [
    {
      name: 'delays',
      version: 1,
      entity: 'airport',
      source: 'flights',
      key: ['airport'],
      features: [
        aggregate('flights', 'count', null),
        aggregate('sum', 'sum', column('delay')),
        aggregate('mean', 'mean', column('delay')),
        aggregate('worst', 'max', column('delay'), { default: -1 }),
        aggregate('late', 'share', isLate),
      ],
      owner: 'tests',
      description: '',
    },
  ],
  featureSets: [
    {
      name: 'both_ends',
      version: 1,
      description: '',
      request: [
        { name: 'origin', type: 'str', description: '' },
        { name: 'destination', type: 'str', description: '' },
        { name: 'distance', type: 'f64', description: '' },
        { name: 'booked', type: 'ts', description: '' },
      ],
      views: [
        { alias: 'origin', view: 'delays@1', key: ['origin'] },
        { alias: 'destination', view: 'delays@1', key: ['destination'] },
      ],
      features: [
        {
          kind: 'derived',
          name: 'gap_squared',
          expression: { op: 'mul', left: column('gap'), right: column('gap') },
          description: '',
        },
        ...(['origin', 'destination'] as const).flatMap((alias) =>
          ['flights', 'sum', 'mean', 'worst', 'late'].flatMap((feature) =>
            ['2h', '6h'].map((window) => ({
              kind: 'view' as const,
              name: `${alias}__${feature}__${window}`,
              alias,
              feature,
              window,
            })),
          ),
        ),
        {
          kind: 'derived',
          name: 'gap',
          expression: { op: 'sub', left: column('origin__mean__2h'), right: column('destination__mean__2h') },
          description: '',
        },
        { kind: 'derived', name: 'hour', expression: { op: 'hourOfDay', of: column('as_of') }, description: '' },
        {
          kind: 'derived',
          name: 'far',
          expression: { op: 'gt', left: column('distance'), right: { op: 'literal', value: 1000, type: 'f64' } },
          description: '',
        },
      ],
    },
  ],
  spines: [],
  labels: [],
  models: [],
};

const reader = compileFeatureReader(PROJECT, 'both_ends@1');

async function push(store: MemoryStore, events: readonly PushedEvent[]): Promise<void> {
  const toSeq = events.at(-1)!.seq;
  await applyEvents({ views: reader.views, events, fromSeqExclusive: events[0]!.seq - 1, toSeq, store });
}

/** A feature by its definition, over all events. */
function naive(
  events: readonly PushedEvent[],
  airport: string | null,
  asOf: number,
  feature: string,
  window: string,
): number {
  const start =
    window === '2h'
      ? asOf - 2 * MICROS_PER_HOUR
      : Math.floor((asOf - 6 * MICROS_PER_HOUR) / MICROS_PER_HOUR) * MICROS_PER_HOUR;
  const seen = events.filter(
    ({ eventAt, availableAt, row }) =>
      row['airport'] === airport && eventAt > start && eventAt <= asOf && availableAt <= asOf,
  );
  const delays = seen.map(({ row }) => row['delay'] as number | null).filter((delay) => delay !== null);
  if (feature === 'flights') return airport === null ? 0 : seen.length;
  if (airport === null || delays.length === 0) return feature === 'worst' ? -1 : NaN;
  const sum = delays.reduce((total, delay) => total + delay, 0);
  if (feature === 'sum') return sum;
  if (feature === 'mean') return sum / delays.length;
  if (feature === 'worst') return Math.max(...delays);
  return delays.filter((delay) => delay >= 15).length / delays.length;
}

const T0 = 1_000_000 * MICROS_PER_HOUR;

/** Events in order of arrival: each arrives when it is known or up to three hours later, out of order among themselves. */
const worlds = fc
  .array(
    fc.record({
      minute: fc.integer({ min: 0, max: 24 * 60 }),
      knownAfter: fc.integer({ min: 0, max: 300 }),
      arrivesAfter: fc.integer({ min: 0, max: 180 }),
      airport: fc.constantFrom('SFO', 'JFK', null),
      delay: fc.option(fc.integer({ min: -50, max: 200 })),
    }),
    { minLength: 1, maxLength: 60 },
  )
  .map((drafts) =>
    drafts
      .map(({ minute, knownAfter, arrivesAfter, airport, delay }) => {
        const eventAt = T0 + minute * MICROS_PER_MINUTE;
        const availableAt = eventAt + knownAfter * MICROS_PER_MINUTE;
        const clockAt = availableAt + arrivesAfter * MICROS_PER_MINUTE;
        return { eventAt, availableAt, clockAt, row: { at: eventAt, known: availableAt, airport, delay } };
      })
      .toSorted((a, b) => a.clockAt - b.clockAt)
      .map((event, i) => ({ ...event, seq: i + 1 }) satisfies PushedEvent),
  );

describe('what the reader serves', () => {
  test('equals the naive scan of all that has arrived, event by event', async () => {
    await fc.assert(
      fc.asyncProperty(worlds, fc.integer({ min: 0, max: 59 }), async (events, ageMinutes) => {
        const store = new MemoryStore();
        for (const event of events) {
          await push(store, [event]);
          const asOf = event.clockAt - ageMinutes * MICROS_PER_MINUTE;
          const request = {
            origin: 'SFO',
            destination: event.seq % 3 === 0 ? null : 'JFK',
            distance: event.seq * 400,
            booked: asOf,
          };
          const { values, knownSeq } = await reader.read(store, [{ request, asOf }]);
          const arrived = events.slice(0, event.seq);
          expect(knownSeq.get('delays@1')).toBe(event.seq);
          const expected = new Map<string, number>();
          for (const name of reader.columns.filter((column) => column.includes('__'))) {
            const [alias, feature, window] = name.split('__') as ['origin' | 'destination', string, string];
            expected.set(name, naive(arrived, request[alias], asOf, feature, window));
          }
          const gap = expected.get('origin__mean__2h')! - expected.get('destination__mean__2h')!;
          const hour = Math.floor(asOf / MICROS_PER_HOUR) % 24;
          for (const [name, value] of [
            ['gap', gap],
            ['gap_squared', gap * gap],
            ['hour', hour],
            ['far', request.distance > 1000 ? 1 : 0],
          ] as const) {
            expected.set(name, value);
          }
          expect(Object.fromEntries(reader.columns.map((name, i) => [name, values[i]]))).toEqual(
            Object.fromEntries(expected),
          );
        }
      }),
      { numRuns: 60 },
    );
  });

  test('does not depend on how events were cut into batches', async () => {
    await fc.assert(
      fc.asyncProperty(worlds, fc.array(fc.integer({ min: 1, max: 20 })), async (events, sizes) => {
        const [single, batched] = [new MemoryStore(), new MemoryStore()];
        await push(single, events);
        for (let from = 0, i = 0; from < events.length; i++) {
          const size = sizes.length === 0 ? 7 : sizes[i % sizes.length]!;
          await push(batched, events.slice(from, from + size));
          from += size;
        }
        const asOf = events.at(-1)!.clockAt;
        const request = { origin: 'SFO', destination: 'JFK', distance: 1, booked: null };
        expect((await reader.read(batched, [{ request, asOf }])).values).toEqual(
          (await reader.read(single, [{ request, asOf }])).values,
        );
      }),
      { numRuns: 60 },
    );
  });

  test('holds at the fold point when the request is older than the store can go', async () => {
    const store = new MemoryStore();
    const row = { at: T0, known: T0, airport: 'SFO', delay: 30 };
    const clockAt = T0 + 3 * MICROS_PER_HOUR;
    await push(store, [{ seq: 1, eventAt: T0, availableAt: T0, clockAt, row }]);
    const foldedAt = clockAt - FOLD_LAG_MICROS;
    const request = { origin: 'SFO', destination: 'JFK', distance: 1, booked: null };
    const { readAt, values } = await reader.read(store, [
      { request, asOf: T0 + 1 },
      { request, asOf: clockAt },
    ]);
    expect([...readAt]).toEqual([foldedAt, clockAt]);
    const flights6h = reader.columns.indexOf('origin__flights__6h');
    expect([values[flights6h], values[reader.columns.length + flights6h]]).toEqual([1, 1]);
  });

  test('holds at the fold point of the view where a state may have been folded away', async () => {
    const store = new MemoryStore();
    const row = { at: T0, known: T0, airport: 'SFO', delay: 30 };
    const clockAt = T0 + 3 * MICROS_PER_HOUR;
    await push(store, [{ seq: 1, eventAt: T0, availableAt: T0, clockAt, row }]);
    const gone = { origin: 'LAX', destination: 'JFK', distance: 1, booked: null };
    const nobody = { origin: null, destination: null, distance: 1, booked: null };
    const { readAt } = await reader.read(store, [
      { request: gone, asOf: T0 + 1 },
      { request: gone, asOf: clockAt },
      { request: nobody, asOf: T0 + 1 },
    ]);
    expect([...readAt]).toEqual([clockAt - FOLD_LAG_MICROS, clockAt, T0 + 1]);
  });

  test('says of each value how it came about', async () => {
    const store = new MemoryStore();
    const row = { at: T0, known: T0, airport: 'SFO', delay: null };
    await push(store, [{ seq: 1, eventAt: T0, availableAt: T0, clockAt: T0, row }]);
    const request = { origin: 'SFO', destination: 'JFK', distance: null, booked: null };
    const { statuses } = await reader.read(store, [{ request, asOf: T0 }]);
    const statusOf = (name: string): string | undefined => FEATURE_STATUSES[statuses[reader.columns.indexOf(name)]!];
    expect(
      ['origin__flights__2h', 'origin__mean__2h', 'origin__worst__2h', 'destination__mean__2h', 'far', 'hour'].map(
        statusOf,
      ),
    ).toEqual(['present', 'null', 'defaulted', 'not_found', 'null', 'present']);
  });
});

test('rows are read in one round trip; a key with a null part needs no state', async () => {
  const store = new MemoryStore();
  const rows = ['SFO', null, 'JFK'].map((origin) => ({
    request: { origin, destination: 'SFO', distance: 1, booked: null },
    asOf: T0,
  }));
  expect(reader.refsOf(rows).map(({ key }) => decodeKey(key)[0])).toEqual(['SFO', 'SFO', 'SFO', 'JFK', 'SFO']);
  await reader.read(store, rows);
  expect(store.reads).toBe(1);
});

test('rows read alone and in a batch have the same vectors', async () => {
  await fc.assert(
    fc.asyncProperty(worlds, async (events) => {
      const store = new MemoryStore();
      await push(store, events);
      const airports = ['SFO', 'JFK', null, 'LAX'];
      const rows = airports.flatMap((origin) =>
        airports.map((destination) => ({
          request: { origin, destination, distance: 5, booked: null },
          asOf: events.at(-1)!.clockAt,
        })),
      );
      const together = (await reader.read(store, rows)).values;
      for (const [i, row] of rows.entries()) {
        const alone = (await reader.read(store, [row])).values;
        expect(together.slice(i * alone.length, (i + 1) * alone.length)).toEqual(alone);
      }
    }),
    { numRuns: 20 },
  );
});

describe('a request', () => {
  const good = { origin: 'SFO', destination: 'JFK', distance: 300, booked: '2001-01-01T00:00:00+01:00' };

  test('becomes a row; null stands for what is not known', () => {
    expect(reader.checkRequest(good)).toEqual({ ...good, booked: Date.parse('2000-12-31T23:00:00Z') * 1000 });
    expect(reader.checkRequest({ ...good, origin: null })).toMatchObject({ origin: null });
  });

  test.each([
    [{ ...good, gate: 'B7' }, /"gate" is "B7"/],
    [{ origin: 'SFO', destination: 'JFK', distance: 1 }, /"booked" is missing/],
    [{ ...good, distance: '300' }, /"distance" is "300".*finite number/],
    [{ ...good, distance: Infinity }, /"distance"/],
    [{ ...good, origin: 5 }, /"origin" is 5.*text/],
    [{ ...good, booked: '2001-01-01T00:00:00' }, /"booked".*offset/],
    [{ ...good, booked: 978_307_200 }, /"booked".*RFC 3339/],
  ])('%o is refused by name, value and rule', (instance, message) => {
    expect(() => reader.checkRequest(instance)).toThrow(
      expect.objectContaining({ code: 'INPUT_INVALID', message: expect.stringMatching(message) }),
    );
  });
});

test('a feature set that does not exist is refused', () => {
  expect(() => compileFeatureReader(PROJECT, 'both_ends@2')).toThrow(/both_ends@2/);
});
