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

/**
 * Features that separate the classes alone, in either direction; a missing value ranks below all others, so that a feature
 * whose absence tells the outcome is found too.
 * @param columns  one per feature, values of the labelled training rows, NaN for null
 * @param labels   0 or 1 for the same rows
 */
export function findSeparation(
  features: readonly string[],
  columns: readonly Float64Array[],
  labels: Float64Array,
): LeakageFinding[] {
  const step = Math.max(1, Math.ceil(labels.length / SEPARATION_MAX_ROWS));
  const [y, rows] = [everyNth(labels, step), Math.ceil(labels.length / step)];
  let positives = 0;
  for (const label of y) positives += label;
  if (Math.min(positives, rows - positives) < SEPARATION_MIN_ROWS_PER_CLASS) return [];
  return features.flatMap((feature, i) => {
    const scores = everyNth(columns[i]!, step);
    for (let row = 0; row < rows; row++) if (Number.isNaN(scores[row])) scores[row] = -Number.MAX_VALUE;
    const auc = rocAuc(y, scores);
    const value = Math.max(auc, 1 - auc);
    if (value < SEPARATION_AUC) return [];
    return [
      {
        feature,
        kind: 'separation' as const,
        severity: 'fail' as const,
        value,
        sentence: `${feature} alone ranks the classes with an AUC of ${value.toFixed(3)} on ${whole(rows)} training rows, at or above ${SEPARATION_AUC}: it probably holds the outcome.`,
      },
    ];
  });
}

/** A copy. Rows lie in order of time, so that every n-th is spread over all of it. */
function everyNth(values: Float64Array, n: number): Float64Array {
  const kept = new Float64Array(Math.ceil(values.length / n));
  for (let i = 0; i < kept.length; i++) kept[i] = values[i * n]!;
  return kept;
}

function whole(count: number): string {
  return count.toLocaleString('en-US');
}

function percent(share: number): string {
  return `${(100 * share).toPrecision(3)} %`;
}
