/**
 * The same flights as an operations room would keep them: reports that are corrected and withdrawn, latest values that age,
 * every kind of window, and a label that looks ahead. docs/features.md reads this file; `live.test.ts` holds it to what the
 * page says.
 */
import {
  approxCountDistinct,
  column,
  count,
  countDistinct,
  days,
  entity,
  featureSet,
  featureView,
  first,
  hours,
  label,
  last,
  latest,
  lifetime,
  mean,
  minutes,
  model,
  project,
  quantile,
  rate,
  source,
  spine,
  stddevSamp,
  sum,
  topK,
  training,
  window,
  type FeatureRow,
} from 'serin';

export const reports = source('delay_reports', {
  description: 'what the airlines report of each flight, corrected as they know better',
  owner: 'flight-operations',
  columns: {
    flight: column.str({ description: 'carrier, number and day' }),
    airport: column.str({ description: 'airport of departure, IATA code' }),
    destination: column.str(),
    passengers: column.i64({ min: 0, max: 1_000 }),
    carrier: column.str(),
    captain: column.str({ nullable: true, pii: true }),
    departs_at: column.ts(),
    known_at: column.ts({ description: 'when the airline sent it' }),
    delay: column.f64({ nullable: true, description: 'minutes; null: not known yet' }),
    boarding: column.bool({ nullable: true }),
    status: column.str({ nullable: true }),
  },
  eventAt: 'departs_at',
  availableAt: (row) => row.known_at,
  eventId: ['flight'],
  freshnessSla: minutes(5),
  revisions: 'versions',
  operation: { column: 'status', retract: 'withdrawn', tombstone: 'airport_reset' },
});

export const closures = source('closures', {
  description: 'airports that close',
  owner: 'flight-operations',
  columns: { airport: column.str(), at: column.ts(), known_at: column.ts() },
  eventAt: 'at',
  availableAt: (row) => row.known_at,
  eventId: ['airport', 'at'],
  freshnessSla: hours(1),
});

const airport = entity('airport', { keys: { airport: 'str' }, description: 'an airport by its IATA code' });
const network = entity('network', { keys: {}, description: 'all airports together' });

export const airportNow = featureView('airport_now', {
  version: 1,
  entity: airport,
  source: reports,
  key: { airport: 'airport' },
  description: 'the newest report of an airport, as long as it means something',
  ttl: hours(6),
  freshnessSla: minutes(1),
  features: (row) => ({
    delay: latest(row.delay, { nulls: 'skip' }),
    boarding: latest(row.boarding, { default: false }),
    reported_at: latest(row.departs_at),
  }),
});

const lately = { '1h': window(hours(1)), '1d': window(days(1), { hop: hours(1) }) } as const;
const day = { '1d': window(days(1)) } as const;

export const airportDelays = featureView('airport_delays', {
  version: 1,
  entity: airport,
  source: reports,
  key: { airport: 'airport' },
  description: 'delays of an airport, from the last hour to all of the past',
  features: (row) => ({
    flights: count({ windows: { ...lately, ever: lifetime() } }),
    on_time: count({ windows: day, where: row.delay.lt(15) }),
    per_hour: rate({ windows: day, per: hours(1) }),
    mean_delay: mean(row.delay, {
      windows: { '1d': window(days(1)), yesterday: window(days(1), { offset: days(1) }) },
    }),
    spread: stddevSamp(row.delay, { windows: day }),
    p90: quantile(row.delay, { windows: day, q: 0.9 }),
    first_delay: first(row.delay, { windows: day }),
    last_delay: last(row.delay, { windows: day, nulls: 'skip', default: 0 }),
    carriers: countDistinct(row.carrier, { windows: day }),
    captains: approxCountDistinct(row.captain, { windows: { '30d': window(days(30)) } }),
    busiest: topK(row.carrier, { windows: day, k: 3 }),
    by_carrier: sum(row.delay, { windows: day, by: row.carrier }),
  }),
});

export const networkDelays = featureView('network_delays', {
  version: 1,
  entity: network,
  source: reports,
  key: {},
  description: 'how the whole network is doing',
  features: (row) => ({ mean_delay: mean(row.delay, { windows: { '1h': window(hours(1)) } }) }),
});

export const liveFeatures = featureSet('live_features', {
  version: 1,
  description: 'both airports and the network',
  request: { origin: column.str(), destination: column.str(), passengers: column.i64() },
  views: {
    origin: airportNow.as({ airport: 'origin' }).pick({ delay: true, boarding: true, reported_at: true }),
    destination: airportNow.as({ airport: 'destination' }).pick({ delay: true }),
    history: airportDelays.as({ airport: 'origin' }).pick({
      flights: ['1h', 'ever'],
      mean_delay: ['1d', 'yesterday'],
      last_delay: ['1d'],
    }),
    network: networkDelays.as({}).pick({ mean_delay: ['1h'] }),
  },
  derived: {
    worse_than_yesterday: (row) => row.history.mean_delay['1d'].gt(row.history.mean_delay.yesterday),
    silent: {
      of: (row) => row.origin.reported_at.plusMinutes(30).lt(row.asOf),
      description: 'no report for half an hour',
    },
    load: (row) => row.request.passengers.div(row.history.flights['1h'].max(1)),
  },
});

/** `{ origin__delay: number | null; origin__boarding: boolean; history__flights__1h: number; … }` */
export type LiveRow = FeatureRow<typeof liveFeatures>;

const boarded = spine('boarded', {
  source: reports,
  asOf: (row) => row.known_at,
  where: (row) => row.boarding.coalesce(false),
  request: (row) => ({ origin: row.airport, destination: row.destination, passengers: row.passengers }),
});

export const congestion = label('congestion', {
  source: reports,
  on: { airport: 'origin' },
  description: 'a flight of the airport is reported an hour late within the next three hours',
  window: {
    gap: minutes(30),
    horizon: hours(3),
    delay: hours(1),
    where: (row) => row.delay.ge(60),
    earlyPositive: true,
    censor: { source: closures, on: { airport: 'origin' } },
  },
});

export default project('live-flights', {
  description: 'will the airport be congested within three hours?',
  models: [
    model('congestion', {
      description: 'the probability that a flight of the airport is reported an hour late within the next three hours',
      owner: 'flight-operations',
      riskTier: 'low',
      spine: boarded,
      label: congestion,
      threshold: 0.5,
      latencyBudgetMsP99: 50,
      rule: { featureSet: liveFeatures, score: (row) => row.origin.delay.coalesce(0).div(120).min(1).max(0) },
      gates: [{ kind: 'schema' }, { kind: 'leakage' }],
      rollout: {
        stages: [{ weightPercent: 10, minDurationMs: 60_000, maxDurationMs: 600_000, minCanaryRequests: 1_000 }],
        guardrails: [{ metric: 'errors', margin: 0.02, direction: 'increase', required: true }],
      },
      monitors: [],
      logSampleRate: 0.1,
      trainings: [
        training('trees', {
          featureSet: liveFeatures,
          trainer: { kind: 'gbt', trees: 50 },
          split: { trainFrom: '2026-01-01', testFrom: '2026-05-01', testTo: '2026-06-01', embargo: days(1) },
          seed: 1,
          description: 'boosted trees, tested on May',
        }),
      ],
    }),
  ],
});
