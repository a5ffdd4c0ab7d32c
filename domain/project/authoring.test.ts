import { expect, expectTypeOf, test } from 'vitest';
import {
  column,
  count,
  days,
  entity,
  featureSet,
  featureView,
  hours,
  label,
  mean,
  minutes,
  model,
  monitor,
  project,
  share,
  source,
  spine,
  training,
  window,
  type Numeric,
  type ProjectSpec,
} from './authoring.ts';
import { checkProjectSpec } from './check.ts';
import { compileExpression, toSql } from './expression.ts';

const flights = source('flights', {
  description: '',
  owner: 'team',
  columns: {
    date: column.ts(),
    delay: column.i64({ min: -120, max: 1500 }),
    distance: column.f64({ nullable: true }),
    origin: column.str({ pii: true }),
    cancelled: column.bool(),
    number: column.i64(),
  },
  eventAt: 'date',
  availableAt: (row) => row.date.plusMinutes(row.distance.div(7.5).plus(45).plus(row.delay.max(0))),
  eventId: ['date', 'number'],
  freshnessSla: hours(1),
});

const airport = entity('airport', { keys: { airport: 'str' }, description: '' });
const flightNumber = entity('flight_number', { keys: { number: 'i64' }, description: '' });

const originDelays = featureView('origin_delays', {
  version: 1,
  entity: airport,
  source: flights,
  key: { airport: 'origin' },
  description: '',
  features: (row) => ({
    delay_share: share(row.delay.ge(15), {
      windows: { '3h': window(hours(3)), '7d': window(days(7), { hop: days(1) }) },
      where: row.cancelled.not(),
    }),
    flights: count({ windows: { '3h': window(hours(3)) }, default: 0 }),
  }),
});

const request = { origin: column.str(), distance: column.f64() } as const;

const delays = featureSet('delays', {
  version: 1,
  description: '',
  request,
  views: { origin: originDelays.as({ airport: 'origin' }).pick({ delay_share: ['7d', '3h'], flights: ['3h'] }) },
  derived: {
    hour: (row) => row.asOf.hourOfDay(),
    trend: (row) => row.origin.delay_share['3h'].minus(row.origin.delay_share['7d']),
    miles_at_night: (row) => row.derived.hour.lt(6).and(row.request.distance.gt(500)),
  },
});

const departures = spine('departures', {
  source: flights,
  asOf: (row) => row.date,
  where: (row) => row.cancelled.not(),
  request: (row) => ({ origin: row.origin, distance: row.distance.coalesce(100) }),
});

const late = label('late', { source: flights, of: (row) => row.delay.ge(15), description: '' });

const split = { trainFrom: '2001-01-08', testFrom: '2001-05-01', testTo: '2001-06-01T12:00:00Z' } as const;

const rollout = {
  stages: [{ weightPercent: 5, minDurationMs: 1, maxDurationMs: 2, minCanaryRequests: 1 }],
  guardrails: [{ metric: 'errors', margin: 0.01, direction: 'increase', required: true }],
} as const;

function aProject(): ProjectSpec {
  return project('flights', {
    description: '',
    models: [
      model('flight-delay', {
        description: '',
        owner: 'team',
        riskTier: 'low',
        spine: departures,
        label: late,
        threshold: 0.5,
        latencyBudgetMsP99: 50,
        rule: { featureSet: delays, score: (row) => row.origin.delay_share['7d'].coalesce(0.2) },
        gates: [{ kind: 'schema' }],
        rollout,
        monitors: [
          monitor('inputs', { kind: 'input-drift', every: minutes(1), minRows: 100, owner: 'team', runbook: 'x.md' }),
        ],
        logSampleRate: 0.1,
        trainings: [
          training('logistic', { featureSet: delays, trainer: { kind: 'logistic' }, split, seed: 1, description: '' }),
        ],
      }),
    ],
  });
}

test('a project is plain JSON that passes its own check unchanged', () => {
  const spec = aProject();
  expect(checkProjectSpec(JSON.parse(JSON.stringify(spec)))).toEqual(spec);
});

test('a project holds what its models reach, each definition once', () => {
  const spec = aProject();
  expect(spec.sources.map(({ name }) => name)).toEqual(['flights']);
  expect(spec.entities.map(({ name }) => name)).toEqual(['airport']);
  expect(spec.views.map(({ name }) => name)).toEqual(['origin_delays']);
  expect(spec.featureSets.map(({ name }) => name)).toEqual(['delays']);
});

test('two definitions of one name do not slip into one', () => {
  const other = source('flights', {
    description: 'another',
    owner: 'team',
    columns: { at: column.ts() },
    eventAt: 'at',
    availableAt: (row) => row.at,
    eventId: ['at'],
    freshnessSla: hours(1),
  });
  expect(() => project('p', { description: '', models: [], sources: [flights as never, other as never] })).toThrow(
    'sources has the source "flights" twice',
  );
});

test('features of views come in the order they are picked, derived ones after them', () => {
  expect(delays.spec.features.map(({ name }) => name)).toEqual([
    'origin__delay_share__7d',
    'origin__delay_share__3h',
    'origin__flights__3h',
    'hour',
    'trend',
    'miles_at_night',
  ]);
});

test('a fluent expression is the tree it reads as', () => {
  const row = { date: 0, distance: 75, delay: -5 };
  expect(compileExpression(flights.spec.availableAt)(row)).toBe(55 * 60_000_000);
  expect(toSql(late.spec.of)).toBe('("delay" >= CAST(15 AS BIGINT))');
});

test('days and instants of a split are microseconds, defaults of a trainer are filled in', () => {
  const [training_] = aProject().models[0]!.trainings;
  expect(training_!.split).toEqual({
    trainFrom: Date.UTC(2001, 0, 8) * 1_000,
    testFrom: Date.UTC(2001, 4, 1) * 1_000,
    testTo: Date.UTC(2001, 5, 1, 12) * 1_000,
    trainRows: null,
    testRows: null,
  });
  expect(training_!.trainer).toMatchObject({ kind: 'logistic', l2: 1 });
});

test('a rule may read features, and only those of its set', () => {
  expectTypeOf(delays.row.origin.delay_share['7d']).toEqualTypeOf<Numeric<'f64'>>();
  expectTypeOf(delays.row.derived).toHaveProperty('hour');
  // @ts-expect-error: the set does not pick 24h
  expect(delays.row.origin.delay_share['24h']).toBeUndefined();
});

/** Never run: each line below an `@ts-expect-error` must be refused by the compiler. */
export function mistakesThatDoNotCompile(): unknown[] {
  const { row } = flights;
  const another = entity('pair', { keys: { origin: 'str', number: 'i64' }, description: '' });
  const noDistance = spine('short', { source: flights, asOf: (r) => r.date, request: (r) => ({ origin: r.origin }) });
  return [
    // @ts-expect-error: a misspelt column
    row.dealy,
    // @ts-expect-error: a text is no number
    row.delay.plus(row.origin),
    // @ts-expect-error: nor is it compared with one
    row.origin.eq(15),
    // @ts-expect-error: a number has no hour
    row.delay.hourOfDay(),
    // @ts-expect-error: a condition is no number
    mean(row.delay.ge(15), { windows: { '3h': window(hours(3)) } }),
    // @ts-expect-error: a share is of a condition
    share(row.delay, { windows: { '3h': window(hours(3)) } }),
    source('s', {
      description: '',
      owner: '',
      columns: { at: column.ts(), n: column.i64() },
      // @ts-expect-error: eventAt must be a ts column
      eventAt: 'n',
      availableAt: (r) => r.at,
      eventId: ['n'],
      freshnessSla: hours(1),
    }),
    source('s', {
      description: '',
      owner: '',
      columns: { at: column.ts(), n: column.i64() },
      eventAt: 'at',
      // @ts-expect-error: availableAt must be an instant
      availableAt: (r) => r.n,
      eventId: ['n'],
      freshnessSla: hours(1),
    }),
    source('s', {
      description: '',
      owner: '',
      columns: { at: column.ts() },
      eventAt: 'at',
      availableAt: (r) => r.at,
      // @ts-expect-error: an event id of a column that does not exist
      eventId: ['m'],
      freshnessSla: hours(1),
    }),
    featureView('v', {
      version: 1,
      entity: airport,
      source: flights,
      // @ts-expect-error: the key of a text entity in a number column
      key: { airport: 'number' },
      description: '',
      features: () => ({ n: count({ windows: { '3h': window(hours(3)) } }) }),
    }),
    featureView('v', {
      version: 1,
      entity: another,
      source: flights,
      // @ts-expect-error: half a key
      key: { origin: 'origin' },
      description: '',
      features: () => ({ n: count({ windows: { '3h': window(hours(3)) } }) }),
    }),
    // @ts-expect-error: the view has no window of 24h
    originDelays.as({ airport: 'origin' }).pick({ delay_share: ['24h'] }),
    // @ts-expect-error: nor a feature of that name
    originDelays.as({ airport: 'origin' }).pick({ delay_chare: ['3h'] }),
    featureSet('s', {
      version: 1,
      description: '',
      request,
      // @ts-expect-error: the request has no field dest
      views: { destination: originDelays.as({ airport: 'dest' }).pick({ flights: ['3h'] }) },
    }),
    featureSet('s', {
      version: 1,
      description: '',
      request,
      // @ts-expect-error: the field is no text
      views: { destination: originDelays.as({ airport: 'distance' }).pick({ flights: ['3h'] }) },
    }),
    featureSet('s', {
      version: 1,
      description: '',
      request,
      views: {},
      // @ts-expect-error: a misspelt request field in a derived feature
      derived: { far: (r) => r.request.distanse.gt(500) },
    }),
    model('m', {
      description: '',
      owner: '',
      riskTier: 'low',
      spine: noDistance,
      label: late,
      threshold: 0.5,
      latencyBudgetMsP99: 1,
      // @ts-expect-error: the spine gives no distance, which the set asks for
      rule: { featureSet: delays, score: (r) => r.origin.delay_share['7d'] },
      gates: [],
      rollout,
      monitors: [],
      logSampleRate: 0,
      trainings: [],
    }),
    flightNumber,
  ];
}
