/** A small project for tests that break things: made-up parcels, quick to train on, a rollout of a few seconds. */
import { writeFile } from 'node:fs/promises';
import {
  column,
  days,
  entity,
  featureSet,
  featureView,
  hours,
  inMs,
  label,
  mean,
  model,
  project,
  seconds,
  share,
  source,
  spine,
  training,
  window,
  type ProjectSpec,
} from '../../domain/project/authoring.ts';
import { formatTime } from '../../domain/features/time-text.ts';
import { MICROS_PER_DAY } from '../../domain/time.ts';

export const PARCELS = 'parcels';
/** Trees enough that it can be killed in the middle of them. */
export const LONG_TRAINING = 'forest';
export const SHORT_TRAINING = 'line';
export const FOREST_TREES = 800;

const DEPOTS = 20;
const EVENTS = 12_000;
const STARTS_AT = Date.UTC(2024, 0, 1) * 1_000;
const SPAN_DAYS = 30;
/** Every request is asked as of an instant after the last event. */
export const ASKED_AT = formatTime(STARTS_AT + (SPAN_DAYS + 1) * MICROS_PER_DAY);
export const FOLDED_AT = formatTime(STARTS_AT + SPAN_DAYS * MICROS_PER_DAY);

const parcels = source(PARCELS, {
  description: 'parcels as they left a depot, and whether they came late',
  owner: 'tests',
  columns: {
    parcel: column.i64(),
    sent_at: column.ts(),
    depot: column.i64({ min: 0 }),
    grams: column.i64({ min: 1 }),
    km: column.i64({ min: 0 }),
    late: column.bool(),
  },
  eventAt: 'sent_at',
  zone: 'UTC',
  availableAt: (row) => row.sent_at.plusMinutes(row.km.plus(30)),
  eventId: ['parcel'],
  freshnessSla: hours(1),
});

const depotDelays = featureView('depot_delays', {
  version: 1,
  entity: entity('depot', { keys: { depot: 'i64' }, description: 'where parcels leave' }),
  source: parcels,
  key: { depot: 'depot' },
  description: 'how late the parcels of a depot have been',
  features: (row) => ({
    late_share: share(row.late.eq(true), { windows: { '7d': window(days(7), { hop: days(1) }) } }),
    mean_km: mean(row.km, { windows: { '7d': window(days(7), { hop: days(1) }) } }),
  }),
});

const parcelFeatures = featureSet('parcel_features', {
  version: 1,
  description: 'the depot of late, and the parcel',
  request: { depot: column.i64(), grams: column.i64(), km: column.i64() },
  views: { depot: depotDelays.as({ depot: 'depot' }).pick({ late_share: ['7d'], mean_km: ['7d'] }) },
  derived: {
    log_grams: (row) => row.request.grams.ln1p(),
    log_km: (row) => row.request.km.ln1p(),
  },
});

const split = { trainFrom: '2024-01-02', testFrom: '2024-01-25', testTo: '2024-01-30' } as const;

export function parcelsProject(): ProjectSpec {
  return project(PARCELS, {
    description: 'Will this parcel come late?',
    models: [
      model(PARCELS, {
        description: 'the probability that a parcel comes late',
        owner: 'tests',
        riskTier: 'low',
        spine: spine('sent', {
          source: parcels,
          asOf: (row) => row.sent_at,
          request: (row) => ({ depot: row.depot, grams: row.grams, km: row.km }),
        }),
        label: label('late', { source: parcels, of: (row) => row.late.eq(true), description: 'it came late' }),
        threshold: 0.5,
        latencyBudgetMsP99: 1_000,
        rule: { featureSet: parcelFeatures, score: (row) => row.depot.late_share['7d'].coalesce(0.3) },
        gates: [
          { kind: 'schema' },
          { kind: 'leakage' },
          { kind: 'threshold', metric: 'auc', min: 0.6 },
          { kind: 'parity', maxAbsDifference: 1e-4 },
        ],
        rollout: {
          shadow: {
            minRequests: 100,
            minDurationMs: inMs(seconds(1)),
            maxDurationMs: inMs(seconds(240)),
            maxErrorRate: 0.05,
          },
          stages: [stage(20), stage(50), stage(100)],
          watch: { durationMs: inMs(seconds(1)) },
          guardrails: [{ metric: 'errors', margin: 0.2, direction: 'increase', required: true }],
          targetSampleSize: 500,
          lookEveryMs: 300,
          onDeadline: 'rollback',
        },
        monitors: [],
        logSampleRate: 1,
        trainings: [
          training(LONG_TRAINING, {
            featureSet: parcelFeatures,
            trainer: { kind: 'gbt', trees: FOREST_TREES, leaves: 31, learningRate: 0.01, minRowsPerLeaf: 20 },
            split,
            seed: 1,
            description: 'long enough to be interrupted',
          }),
          training(SHORT_TRAINING, {
            featureSet: parcelFeatures,
            trainer: { kind: 'logistic', l2: 1 },
            split,
            seed: 1,
            description: 'something to roll out',
          }),
        ],
      }),
    ],
  });
}

function stage(weightPercent: number) {
  return {
    weightPercent,
    minDurationMs: inMs(seconds(1)),
    maxDurationMs: inMs(seconds(240)),
    minCanaryRequests: weightPercent === 100 ? 0 : 100,
  };
}

/** Parcels are late by their depot, weight and way: something to learn, the same at every call. */
export async function writeParcels(file: string): Promise<void> {
  let state = 42;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const lines = ['parcel,sent_at,depot,grams,km,late'];
  for (let parcel = 0; parcel < EVENTS; parcel += 1) {
    const sentAt = STARTS_AT + Math.floor((parcel / EVENTS) * SPAN_DAYS * MICROS_PER_DAY);
    const depot = Math.floor(random() * DEPOTS);
    const grams = 1 + Math.floor(random() * 20_000);
    const km = Math.floor(random() * 800);
    const logOdds = -2 + depot / 10 + km / 400 + (grams > 15_000 ? 1 : 0);
    const late = random() < 1 / (1 + Math.exp(-logOdds));
    lines.push(`${parcel},${formatTime(sentAt)},${depot},${grams},${km},${late}`);
  }
  await writeFile(file, `${lines.join('\n')}\n`);
}

/** The `n`th request of a test. */
export function aRequest(n: number): { depot: number; grams: number; km: number } {
  return { depot: n % DEPOTS, grams: 1 + ((n * 7_919) % 20_000), km: (n * 104_729) % 800 };
}
