/**
 * What is proven: six views over three sources, as a project like any other. Between them they use every way a row can come
 * to count or not: each identity, both boundaries, TTL, exact, hopping and endless windows, filters, groups, typed values,
 * the tile kernel and the history kernel.
 */
import type { ColumnType, Expression } from '../../../domain/project/expression.ts';
import type {
  AggregateSpec,
  ColumnSpec,
  FeatureSetSpec,
  FeatureSpec,
  FeatureViewSpec,
  ProjectSpec,
  RequestField,
  SourceSpec,
  WindowSpec,
} from '../../../domain/project/spec.ts';
import { MICROS_PER_HOUR, MICROS_PER_MINUTE } from '../../../domain/time.ts';

export type SourceName = 'trips' | 'prices' | 'pings';
export const SOURCE_NAMES: readonly SourceName[] = ['trips', 'prices', 'pings'];

/** Instants after an event at which an answer may change: its own, its expiry, and where it leaves each window. */
export const SPANS: Readonly<Record<SourceName, readonly number[]>> = {
  trips: [0, 2 * MICROS_PER_HOUR, 12 * MICROS_PER_HOUR, 48 * MICROS_PER_HOUR],
  prices: [0, 6 * MICROS_PER_HOUR],
  pings: [0, 30 * MICROS_PER_MINUTE, 3 * MICROS_PER_HOUR, 6 * MICROS_PER_HOUR],
};

/** "Late" reaches back two windows of this length. */
export const LATE_SPAN = 12 * MICROS_PER_HOUR;

const column = (name: string): Expression => ({ op: 'column', name });

function columnSpec(name: string, type: ColumnType, nullable = true): ColumnSpec {
  return { name, type, nullable, pii: false, description: '' };
}

function source(name: SourceName, columns: readonly ColumnSpec[], rest: Partial<SourceSpec>): SourceSpec {
  return {
    name,
    description: '',
    owner: 'skew',
    columns: [columnSpec('happened_at', 'ts', false), columnSpec('known_at', 'ts', false), ...columns],
    eventAt: 'happened_at',
    zone: null,
    availableAt: column('known_at'),
    eventId: [],
    freshnessSlaSeconds: 3_600,
    ...rest,
  };
}

const OPERATION = { column: 'change', retract: 'retract', tombstone: 'tombstone' };

const SOURCES: readonly SourceSpec[] = [
  source(
    'trips',
    [
      columnSpec('trip_id', 'str'),
      columnSpec('change', 'str'),
      columnSpec('rider', 'str'),
      columnSpec('city', 'str'),
      columnSpec('fare', 'f64'),
      columnSpec('seats', 'i64'),
      columnSpec('channel', 'str'),
      columnSpec('night', 'bool'),
    ],
    { eventId: ['trip_id'], revisions: 'versions', operation: OPERATION },
  ),
  source(
    'prices',
    [
      columnSpec('change', 'str'),
      columnSpec('sku', 'i64'),
      columnSpec('price', 'f64'),
      columnSpec('stock', 'i64'),
      columnSpec('tier', 'str'),
    ],
    { eventId: ['sku', 'happened_at'], revisions: 'versions', operation: OPERATION },
  ),
  source(
    'pings',
    [
      columnSpec('ping_id', 'str', false),
      columnSpec('device', 'str'),
      // within these bounds its sums fit the tile kernel
      { ...columnSpec('value', 'i64'), min: -1_000_000, max: 1_000_000 },
      columnSpec('load', 'f64'),
      columnSpec('ok', 'bool'),
    ],
    { eventId: ['ping_id'] },
  ),
];

function exact(name: string, lengthMicros: number): WindowSpec {
  return { name, lengthMicros, hopMicros: null };
}

const TRIP_WINDOWS = [
  exact('2h', 2 * MICROS_PER_HOUR),
  exact('12h', 12 * MICROS_PER_HOUR),
  exact('48h', 48 * MICROS_PER_HOUR),
];

function feature(
  name: string,
  fn: AggregateSpec['fn'],
  of: string | null,
  windows: readonly WindowSpec[],
  rest: Partial<AggregateSpec> = {},
): AggregateSpec {
  return {
    name,
    fn,
    of: of === null ? null : column(of),
    where: null,
    windows,
    default: null,
    description: '',
    ...rest,
  };
}

function view(
  name: string,
  of: SourceName,
  entity: string,
  key: readonly string[],
  features: readonly AggregateSpec[],
  rest: Partial<FeatureViewSpec> = {},
): FeatureViewSpec {
  return { name, version: 1, entity, source: of, key, features, owner: 'skew', description: '', ...rest };
}

const VIEWS: readonly FeatureViewSpec[] = [
  view(
    'price_now',
    'prices',
    'sku',
    ['sku'],
    [
      feature('price', 'latest', 'price', []),
      feature('tier', 'latest', 'tier', [], { nulls: 'skip' }),
      feature('stock', 'latest', 'stock', [], { default: 0 }),
    ],
    { ttlMicros: 6 * MICROS_PER_HOUR },
  ),
  view(
    'rider_spend',
    'trips',
    'rider',
    ['rider'],
    [
      feature('trips', 'count', null, TRIP_WINDOWS),
      feature('fare_sum', 'sum', 'fare', TRIP_WINDOWS),
      feature('fare_mean', 'mean', 'fare', [TRIP_WINDOWS[1]!]),
      feature('fare_min', 'min', 'fare', [TRIP_WINDOWS[0]!]),
      feature('fare_max', 'max', 'fare', [TRIP_WINDOWS[2]!]),
      feature('seats_sum', 'sum', 'seats', [TRIP_WINDOWS[1]!], { default: -1 }),
    ],
  ),
  view(
    'city_nights',
    'trips',
    'rider_city',
    ['rider', 'city'],
    // every output has the filter, so that a row that is corrected to fail it must take its older version with it
    [
      feature('trips', 'count', null, [TRIP_WINDOWS[1]!], { where: column('night') }),
      feature('first_fare', 'first', 'fare', [TRIP_WINDOWS[1]!], { where: column('night') }),
      feature('last_seats', 'last', 'seats', [TRIP_WINDOWS[2]!], { where: column('night'), nulls: 'skip' }),
      feature('channels', 'count_distinct', 'channel', [TRIP_WINDOWS[2]!], { where: column('night') }),
    ],
    { boundary: 'exclusive' },
  ),
  view(
    'rider_channels',
    'trips',
    'rider',
    ['rider'],
    [
      feature('trips_by', 'count', null, [TRIP_WINDOWS[1]!], { by: column('channel') }),
      feature('fare_by', 'sum', 'fare', [TRIP_WINDOWS[1]!], { by: column('channel') }),
    ],
  ),
  view(
    'device_load',
    'pings',
    'device',
    ['device'],
    [
      feature('pings', 'count', null, [
        exact('30m', 30 * MICROS_PER_MINUTE),
        { name: '6h', lengthMicros: 6 * MICROS_PER_HOUR, hopMicros: MICROS_PER_HOUR },
      ]),
      feature('value_sum', 'sum', 'value', [
        exact('30m', 30 * MICROS_PER_MINUTE),
        { name: '6h', lengthMicros: 6 * MICROS_PER_HOUR, hopMicros: MICROS_PER_HOUR },
      ]),
      feature('value_max', 'max', 'value', [
        { name: '6h', lengthMicros: 6 * MICROS_PER_HOUR, hopMicros: MICROS_PER_HOUR },
      ]),
      feature('ok_share', 'share', 'ok', [exact('30m', 30 * MICROS_PER_MINUTE)]),
    ],
  ),
  view(
    'device_last',
    'pings',
    'device',
    ['device'],
    [
      feature('load', 'latest', 'load', []),
      feature('ok', 'latest', 'ok', [], { nulls: 'skip' }),
      feature('pings_ever', 'count', null, [{ name: 'ever', lengthMicros: null, hopMicros: null }]),
      feature('load_sum', 'sum', 'load', [
        { name: '6h', lengthMicros: 6 * MICROS_PER_HOUR, hopMicros: MICROS_PER_HOUR },
      ]),
    ],
    { ttlMicros: 3 * MICROS_PER_HOUR },
  ),
];

/** The request field of each key column; also what a read is asked with. */
export interface ReadKeys {
  readonly rider: string | null;
  readonly city: string | null;
  readonly sku: number | null;
  readonly device: string | null;
}

/** The feature set that reads every output of every view, text and lists included. */
export const EVERYTHING = 'everything';

function everything(version: number): FeatureSetSpec {
  const request = (name: keyof ReadKeys, type: ColumnType): RequestField => ({ name, type, description: '' });
  return {
    name: EVERYTHING,
    version,
    request: [request('rider', 'str'), request('city', 'str'), request('sku', 'i64'), request('device', 'str')],
    views: VIEWS.map((each) => ({ alias: each.name, view: `${each.name}@${version}`, key: each.key })),
    features: VIEWS.flatMap((each) =>
      each.features.flatMap((aggregate): FeatureSpec[] => {
        const windows = aggregate.fn === 'latest' ? [null] : aggregate.windows.map(({ name }) => name);
        return windows.map((window) => ({
          kind: 'view',
          name: [each.name, aggregate.name, ...(window === null ? [] : [window])].join('__'),
          alias: each.name,
          feature: aggregate.name,
          window,
        }));
      }),
    ),
    description: '',
  };
}

/** The project whose views are read. @param version of the views: another one has states of its own in the same store */
export function skewProject(version = 1): ProjectSpec {
  return {
    format: 'serin.project/1',
    name: 'skew',
    description: 'Worlds in which offline must equal online',
    sources: SOURCES,
    entities: [
      { name: 'sku', keys: [{ name: 'sku', type: 'i64' }], description: '' },
      { name: 'rider', keys: [{ name: 'rider', type: 'str' }], description: '' },
      {
        name: 'rider_city',
        keys: [
          { name: 'rider', type: 'str' },
          { name: 'city', type: 'str' },
        ],
        description: '',
      },
      { name: 'device', keys: [{ name: 'device', type: 'str' }], description: '' },
    ],
    views: VIEWS.map((each) => ({ ...each, version })),
    featureSets: [everything(version)],
    spines: [],
    labels: [],
    models: [],
  };
}
