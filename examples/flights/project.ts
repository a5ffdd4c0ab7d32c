/**
 * Will this flight arrive at least 15 minutes late? Asked when it leaves the gate, answered from how flights of its airports
 * and its route have been doing. Three million US flights of 2001; `data.ts` prepares the files.
 */
import {
  column,
  count,
  days,
  entity,
  featureSet,
  featureView,
  hours,
  inMs,
  label,
  mean,
  minutes,
  model,
  monitor,
  project,
  seconds,
  share,
  source,
  spine,
  training,
  window,
  type ProjectSpec,
} from 'serin';

/** A flight counts as late from this many minutes on: the definition of the US Department of Transportation. */
const LATE_MINUTES = 15;

/** Share of late flights in 2001: what the rule says of an airport it knows nothing about. */
const USUAL_SHARE_LATE = 0.2;

export interface FlightsOptions {
  /** The share of the flights that are ingested, in (0, 1]. Fewer rows prove less, so the margins widen with it. */
  readonly sample: number;
}

// ---- what happened ----

const flightColumns = {
  date: column.ts({ description: 'departure as it happened' }),
  delay: column.i64({ min: -120, max: 1500, description: 'arrival delay in minutes; negative when early' }),
  distance: column.i64({ min: 10, max: 5500, description: 'miles' }),
  origin: column.str({ description: 'airport, IATA code' }),
  destination: column.str({ description: 'airport, IATA code' }),
} as const;

const flights = source('flights', {
  description: 'US domestic flights with their arrival delay',
  owner: 'flight-operations',
  columns: flightColumns,
  eventAt: 'date',
  // The file has local wall-clock times and no zones. They are read as if all airports shared one clock, which is wrong by
  // the hours between zones for a flight's duration, and the same for training and serving.
  zone: 'UTC',
  // A delay is known when the flight has landed: 45 minutes on the ground and 7.5 miles a minute, and the delay itself.
  availableAt: (row) => row.date.plusMinutes(row.distance.div(7.5).plus(45).plus(row.delay.max(0))),
  // The file has no flight number, so a flight is all that is known of it; 191 groups of rows cannot be told apart.
  eventId: ['date', 'delay', 'distance', 'origin', 'destination'],
  freshnessSla: hours(1),
});

/** The same flights, declared wrongly: as if the delay were known at departure. The mistake that version 3 makes. */
const flightsScheduled = source('flights_scheduled', {
  description: 'the flights, taken as a schedule: everything counts as known at departure',
  owner: 'data-science',
  columns: flightColumns,
  eventAt: 'date',
  zone: 'UTC',
  availableAt: (row) => row.date,
  eventId: ['date', 'delay', 'distance', 'origin', 'destination'],
  freshnessSla: hours(1),
});

const airportStatus = source('airport_status', {
  description: 'how late the flights were that landed at an airport within an hour; made by another team',
  owner: 'airport-information',
  columns: {
    airport: column.str({ description: 'IATA code' }),
    at: column.ts({ description: 'end of the hour' }),
    // the other team promises no range, so there is none to hold them to
    mean_delay: column.i64({ description: 'mean arrival delay in minutes' }),
    flights: column.i64({ min: 1, description: 'flights that landed' }),
  },
  eventAt: 'at',
  zone: 'UTC',
  availableAt: (row) => row.at.plusMinutes(5),
  eventId: ['airport', 'at'],
  freshnessSla: hours(2),
});

// ---- what is known about airports and routes ----

const airport = entity('airport', { keys: { airport: 'str' }, description: 'an airport by its IATA code' });

const route = entity('route', {
  keys: { origin: 'str', destination: 'str' },
  description: 'from one airport to another',
});

const shortWindow = { '3h': window(hours(3), { hop: minutes(15) }) } as const;
const dayWindow = { '24h': window(hours(24), { hop: hours(1) }) } as const;
const weekWindow = { '7d': window(days(7), { hop: days(1) }) } as const;

const originDelays = featureView('origin_delays', {
  version: 1,
  entity: airport,
  source: flights,
  key: { airport: 'origin' },
  description: 'delays of the flights that left an airport',
  features: (row) => ({
    delay_share: share(row.delay.ge(LATE_MINUTES), { windows: { ...shortWindow, ...dayWindow, ...weekWindow } }),
    mean_delay: mean(row.delay, { windows: { ...shortWindow, ...dayWindow } }),
  }),
});

const destinationDelays = featureView('destination_delays', {
  version: 1,
  entity: airport,
  source: flights,
  key: { airport: 'destination' },
  description: 'delays of the flights to an airport',
  features: (row) => ({
    delay_share: share(row.delay.ge(LATE_MINUTES), { windows: { ...shortWindow, ...dayWindow, ...weekWindow } }),
    mean_delay: mean(row.delay, { windows: { ...shortWindow, ...dayWindow } }),
  }),
});

const routeDelays = featureView('route_delays', {
  version: 1,
  entity: route,
  source: flights,
  key: { origin: 'origin', destination: 'destination' },
  description: 'delays of the flights of a route',
  features: (row) => ({
    delay_share: share(row.delay.ge(LATE_MINUTES), { windows: weekWindow }),
    mean_delay: mean(row.delay, { windows: weekWindow }),
  }),
});

const scheduledDelays = featureView('scheduled_delays', {
  version: 1,
  entity: route,
  source: flightsScheduled,
  key: { origin: 'origin', destination: 'destination' },
  description: 'delays on a route by the schedule: its windows hold the very flight that is asked about',
  features: (row) => ({
    mean_delay: mean(row.delay, { windows: { '1h': window(hours(1), { hop: minutes(15) }) } }),
  }),
});

const airportStatusNow = featureView('airport_status_now', {
  version: 1,
  entity: airport,
  source: airportStatus,
  key: { airport: 'airport' },
  description: 'how late flights have been landing at an airport, as the other team reports it',
  features: (row) => ({
    mean_delay: mean(row.mean_delay, {
      windows: { '2h': window(hours(2), { hop: minutes(15) }), '6h': window(hours(6), { hop: hours(1) }) },
      description: 'of the hourly reports, in their unit',
    }),
    reports: count({ windows: dayWindow }),
  }),
});

// ---- what the models read ----

const request = {
  origin: column.str({ description: 'airport of departure, IATA code' }),
  destination: column.str({ description: 'airport of arrival, IATA code' }),
  distance: column.i64({ description: 'miles' }),
} as const;

const delayViews = {
  origin: originDelays.as({ airport: 'origin' }).pick({ delay_share: ['3h', '24h', '7d'], mean_delay: ['3h'] }),
  destination: destinationDelays
    .as({ airport: 'destination' })
    .pick({ delay_share: ['3h', '24h', '7d'], mean_delay: ['3h'] }),
  route: routeDelays.as({ origin: 'origin', destination: 'destination' }).pick({ delay_share: ['7d'] }),
} as const;

const delayFeatures = featureSet('delay_features', {
  version: 1,
  description: 'trailing delays of origin, destination and route; time of day, weekday and distance on demand',
  request,
  views: delayViews,
  derived: {
    // The flying day starts at 5 in the morning and delays grow until it ends, so the hour is counted from there.
    hour: (row) => row.asOf.plusMinutes(-5 * 60).hourOfDay(),
    weekday: (row) => row.asOf.dayOfWeek(),
    log_distance: (row) => row.request.distance.ln1p(),
  },
});

const delayFeaturesWithStatus = featureSet('delay_features', {
  version: 2,
  description: 'version 1, and the reports on the airport of departure',
  request,
  views: { ...delayViews, status: airportStatusNow.as({ airport: 'origin' }).pick({ mean_delay: ['2h', '6h'] }) },
  derived: {
    hour: (row) => row.asOf.plusMinutes(-5 * 60).hourOfDay(),
    weekday: (row) => row.asOf.dayOfWeek(),
    log_distance: (row) => row.request.distance.ln1p(),
  },
});

const leakyFeatures = featureSet('leaky_features', {
  version: 1,
  description: 'what a hurried data scientist adds: the delays on the route in the last hour, by the schedule',
  request,
  views: {
    ...delayViews,
    scheduled: scheduledDelays.as({ origin: 'origin', destination: 'destination' }).pick({ mean_delay: ['1h'] }),
  },
  derived: { hour: (row) => row.asOf.plusMinutes(-5 * 60).hourOfDay(), weekday: (row) => row.asOf.dayOfWeek() },
});

// ---- what is predicted, and how it is delivered ----

const departures = spine('departures', {
  source: flights,
  asOf: (row) => row.date,
  request: (row) => ({ origin: row.origin, destination: row.destination, distance: row.distance }),
});

const late = label('late', {
  source: flights,
  of: (row) => row.delay.ge(LATE_MINUTES),
  description: `arrived at least ${LATE_MINUTES} minutes late`,
});

const boostedTrees = { kind: 'gbt', trees: 100, leaves: 31, learningRate: 0.1, minRowsPerLeaf: 20 } as const;

export function flightsProject({ sample }: FlightsOptions): ProjectSpec {
  /** What fewer rows can show: full margins from a quarter of the flights on. */
  const wider = Math.max(1, Math.min(2, 0.5 / Math.sqrt(sample)));
  // a canary of 5 % of few flights would hear too little to conclude anything before June is over
  const [firstWeight, secondWeight] = sample < 0.5 ? [20, 50] : [5, 20];
  const rows = {
    trainRows: Math.round(200_000 * Math.min(1, 4 * sample)),
    testRows: Math.round(80_000 * Math.min(1, 4 * sample)),
  };
  const fourMonths = { trainFrom: '2001-01-08', testFrom: '2001-05-01', testTo: '2001-06-01', ...rows };

  return project('flights', {
    description: 'Will this flight arrive at least 15 minutes late?',
    models: [
      model('flight-delay', {
        description: 'the probability, at the moment a flight leaves the gate, that it arrives 15 or more minutes late',
        owner: 'flight-operations',
        riskTier: 'medium',
        spine: departures,
        label: late,
        threshold: 0.3,
        latencyBudgetMsP99: 50,
        // what a dispatcher would say: some of how the airport's last day went, and delays build up as the day goes on
        rule: {
          featureSet: delayFeatures,
          score: (row) =>
            row.origin.delay_share['24h'].coalesce(USUAL_SHARE_LATE).times(0.4).plus(row.derived.hour.times(0.015)),
        },
        gates: [
          { kind: 'schema' },
          { kind: 'leakage' },
          { kind: 'threshold', metric: 'auc', min: Number((0.68 - 0.06 * (wider - 1)).toFixed(2)) },
          { kind: 'regression', metric: 'log_loss', maxHarm: 0.005 * wider, confidence: 0.95 },
          { kind: 'calibration', maxEce: 0.05 },
          { kind: 'latency', p99Ms: 50 },
          { kind: 'parity', maxAbsDifference: 1e-4 },
        ],
        rollout: {
          shadow: {
            minRequests: Math.round(2_000 / wider ** 2),
            minDurationMs: inMs(seconds(2)),
            maxDurationMs: inMs(minutes(2)),
            maxErrorRate: 0.01,
          },
          stages: [
            stage(firstWeight, Math.round(1_000 / wider ** 2)),
            stage(secondWeight, Math.round(2_000 / wider ** 2)),
            { ...stage(100, 0), approval: { role: 'approver', count: 1, expiresMs: inMs(minutes(10)) } },
          ],
          watch: { durationMs: inMs(seconds(3)) },
          guardrails: [
            { metric: 'errors', margin: 0.02 * wider, direction: 'increase', required: true },
            { metric: 'slow', margin: 0.1 * wider, direction: 'increase', required: false },
            // a calibrated version scores as its champion does on average, whatever single flights get
            { metric: 'score', margin: 0.03 * wider, direction: 'either', required: true },
            { metric: 'loss', margin: 0.03 * wider, direction: 'increase', required: false },
          ],
          targetSampleSize: Math.round(10_000 / wider ** 2),
          lookEveryMs: 500,
          onDeadline: 'rollback',
        },
        monitors: [
          monitor('inputs', {
            kind: 'input-drift',
            every: minutes(1),
            minRows: 1_000,
            owner: 'flight-operations',
            runbook: 'docs/runbooks/input-drift.md',
          }),
          monitor('scores', {
            kind: 'score-drift',
            every: minutes(1),
            minRows: 1_000,
            owner: 'flight-operations',
            runbook: 'docs/runbooks/score-drift.md',
          }),
          monitor('quality', {
            kind: 'quality',
            every: minutes(1),
            minRows: 1_000,
            owner: 'flight-operations',
            runbook: 'docs/runbooks/quality.md',
          }),
        ],
        logSampleRate: 0.1,
        trainings: [
          training('logistic', {
            featureSet: delayFeatures,
            trainer: { kind: 'logistic', l2: 1 },
            split: fourMonths,
            seed: 1,
            description: 'version 1: logistic regression',
          }),
          training('boosted', {
            featureSet: delayFeatures,
            trainer: boostedTrees,
            split: fourMonths,
            seed: 1,
            description: 'version 2: gradient-boosted trees on the same features',
          }),
          training('leaky', {
            featureSet: leakyFeatures,
            trainer: boostedTrees,
            // the schedule is ingested for May alone
            split: {
              trainFrom: '2001-05-04',
              testFrom: '2001-05-20',
              testTo: '2001-06-01',
              trainRows: 50_000,
              testRows: 30_000,
            },
            seed: 1,
            description: 'version 3: sees the delay of the flight it is asked about',
          }),
          training('with-airport-status', {
            featureSet: delayFeaturesWithStatus,
            trainer: boostedTrees,
            split: fourMonths,
            seed: 1,
            description: 'version 4: the reports of another team as well',
          }),
        ],
      }),
    ],
  });
}

function stage(
  weightPercent: number,
  minCanaryRequests: number,
): { weightPercent: number; minDurationMs: number; maxDurationMs: number; minCanaryRequests: number } {
  return { weightPercent, minCanaryRequests, minDurationMs: inMs(seconds(2)), maxDurationMs: inMs(minutes(2)) };
}

export default flightsProject({ sample: 1 });
