/** Signs that a feature knows the outcome. Each finding is one sentence with its numbers; what blocks is the gate's business. */
import type { LeakageFinding } from '../../domain/features/leakage.ts';
import { rocAuc } from '../../domain/statistics/roc.ts';

/**
 * One feature alone that ranks the classes this well is taken for a leak. Honest single features of delay, credit and
 * click data rank at 0.5–0.75 and whole models of them seldom above 0.85, while a column that holds the outcome or was
 * written after it comes out at 0.95 and more; 0.85 lies between, and a person can look at what it stops.
 */
export const SEPARATION_AUC = 0.85;

/** With fewer rows of a class an AUC is too uncertain to accuse: its standard error at 0.5 is about 0.04 for 100 against 100. */
export const SEPARATION_MIN_ROWS_PER_CLASS = 100;

/** Rows beyond this many add nothing: at 50,000 the standard error of an AUC near 0.85 is about 0.002. */
export const SEPARATION_MAX_ROWS = 50_000;

export interface OwnEventCount {
  readonly alias: string;
  readonly view: string;
  readonly source: string;
  /** Rows of the dataset, and those at whose asOf the row's own event is visible and in a window of its key. */
  readonly rows: number;
  readonly visible: number;
}

/** A view over the source of the label: the row's own event must not be visible at the row's asOf. */
export function findOwnEvents(counts: readonly OwnEventCount[]): LeakageFinding[] {
  return counts
    .filter(({ visible }) => visible > 0)
    .map(({ alias, view, source, rows, visible }) => ({
      feature: `${alias}__*`,
      kind: 'own_event',
      severity: 'fail',
      value: visible / rows,
      sentence: `${whole(visible)} of ${whole(rows)} rows (${percent(visible / rows)}) see their own event of ${source}, which holds the label, through ${alias} (${view}): its availableAt must not come before the label is known.`,
    }));
}

export interface AvailabilityCount {
  readonly view: string;
  readonly alias: string;
  readonly source: string;
  readonly events: number;
  /** Events recorded as available no later than they happened. */
  readonly atOnce: number;
}

/** Availability that always equals the event time is assumed, not measured; over the label's own source that is worth a look. */
export function findAssumedAvailability(counts: readonly AvailabilityCount[]): LeakageFinding[] {
  return counts
    .filter(({ events, atOnce }) => events > 0 && atOnce === events)
    .map(({ view, alias, source, events }) => ({
      feature: `${alias}__*`,
      kind: 'availability',
      severity: 'warn',
      value: 1,
      sentence: `All ${whole(events)} events of ${source} are available the moment they happen, so ${alias} (${view}) relies on an assumed availability, and the label comes from the same source.`,
    }));
}

export interface AvailabilityDelay {
  readonly alias: string;
  readonly view: string;
  readonly source: string;
  /** Of half of the source's events at least: from the event to when it is known. */
  readonly delayMicros: number;
  /** From the instant that is asked about to when the label is known. */
  readonly labelDelayMicros: number;
}

/** Values that become known later than the label itself were, if they helped, made from what the label is about. */
export function findLateFeatures(delays: readonly AvailabilityDelay[]): LeakageFinding[] {
  return delays
    .filter(({ delayMicros, labelDelayMicros }) => delayMicros > labelDelayMicros)
    .map(({ alias, view, source, delayMicros, labelDelayMicros }) => ({
      feature: `${alias}__*`,
      kind: 'availability',
      severity: 'warn',
      value: labelDelayMicros / delayMicros,
      sentence: `Half of the events of ${source} become known ${duration(delayMicros)} after they happen or later, which is after the label is (${duration(labelDelayMicros)}), so ${alias} (${view}) tells of what is long past or was written with the outcome at hand.`,
    }));
}

/** Labelled training rows that features are judged on. */
export interface SeparationSample {
  /** Positions among the training rows, ascending. */
  readonly rows: Uint32Array;
  /** 0 or 1 for each. */
  readonly labels: Float64Array;
}

/**
 * @param labels of the training rows, NaN where there is none
 * @returns null when a class has too few rows to tell
 */
export function sampleForSeparation(labels: Float64Array): SeparationSample | null {
  const labelled = new Uint32Array(labels.length);
  let count = 0;
  for (let row = 0; row < labels.length; row++) {
    if (labels[row] === 0 || labels[row] === 1) labelled[count++] = row;
  }
  // rows lie in order of time, so that every n-th is spread over all of it
  const step = Math.max(1, Math.ceil(count / SEPARATION_MAX_ROWS));
  const rows = Uint32Array.from({ length: Math.ceil(count / step) }, (_, i) => labelled[i * step]!);
  const sample = Float64Array.from(rows, (row) => labels[row]!);
  let positives = 0;
  for (const label of sample) positives += label;
  if (Math.min(positives, rows.length - positives) < SEPARATION_MIN_ROWS_PER_CLASS) return null;
  return { rows, labels: sample };
}

/**
 * Whether a feature separates the classes alone, in either direction; a missing value ranks below all others, so that a
 * feature whose absence tells the outcome is found too.
 * @param column values of the training rows, NaN for null
 */
export function findSeparation(
  feature: string,
  column: Float64Array,
  sample: SeparationSample | null,
): LeakageFinding[] {
  if (sample === null) return [];
  const { rows, labels } = sample;
  const scores = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) {
    const score = column[rows[i]!]!;
    scores[i] = Number.isNaN(score) ? -Number.MAX_VALUE : score;
  }
  const auc = rocAuc(labels, scores);
  const value = Math.max(auc, 1 - auc);
  if (value < SEPARATION_AUC) return [];
  return [
    {
      feature,
      kind: 'separation',
      severity: 'fail',
      value,
      sentence: `${feature} alone ranks the classes with an AUC of ${value.toFixed(3)} on ${whole(rows.length)} training rows, at or above ${SEPARATION_AUC}: it probably holds the outcome.`,
    },
  ];
}

/** In the largest unit of which there is at least one. */
function duration(micros: number): string {
  const units = [
    ['d', 86_400e6],
    ['h', 3_600e6],
    ['min', 60e6],
    ['s', 1e6],
  ] as const;
  const [unit, size] = units.find(([, each]) => micros >= each) ?? ['µs', 1];
  return `${Number((micros / size).toPrecision(3))} ${unit}`;
}

function whole(count: number): string {
  return count.toLocaleString('en-US');
}

function percent(share: number): string {
  return `${(100 * share).toPrecision(3)} %`;
}
