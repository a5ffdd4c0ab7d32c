import { formatTime } from '../../domain/features/time-text.ts';
import { FEATURE_STATUSES, type FeatureStatus } from '../../features/kernel/view-state.ts';
import type { TypedRow } from '../../features/reader/feature-reader.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import type { Answer } from '../scoring/answer.ts';
import type { FeatureInput, FeatureRow, OnlineReader } from '../scoring/feature-batch.ts';
import { requestFor } from '../scoring/request-for.ts';

export interface ExplainedFeature {
  /** As the model saw it; null where it is missing. */
  readonly value: number | null;
  readonly status: FeatureStatus;
  /** From `readAt` back to the event behind the value; null where there is none, and where it is not known any more. */
  readonly ageSeconds: number | null;
}

/** How one answer came about, by what the model saw. */
export interface Explanation {
  readonly rawScore: number;
  readonly threshold: number;
  /** The value of the slicing field whose threshold decided. */
  readonly slice: string | null;
  /** The instant at which the features hold; null: no store was read for them. */
  readonly readAt: string | null;
  /** Why the arm's own version did not answer. */
  readonly error: string | null;
  readonly features: Readonly<Record<string, ExplainedFeature>>;
}

/**
 * Explains answers: values and statuses are those of the answer itself; ages are read now, since the path of every request
 * does not know them. A value that has changed in between has no age. Never rejects: without the store there are no ages.
 */
export async function explainAnswers(
  store: OnlineReader,
  entry: RouteEntry,
  answers: readonly Answer[],
): Promise<readonly Explanation[]> {
  const rows = await readAgain(store, entry, answers);
  return answers.map((answer, i) => explain(answer, rows.get(i)));
}

function explain(answer: Answer, row: TypedRow | undefined): Explanation {
  const { rawScore, threshold, slice, known, error, features, statuses, featureNames } = answer;
  const explained: Record<string, ExplainedFeature> = {};
  // an answer that no version computed has no features
  for (let i = 0; i < features.length; i++) {
    const name = featureNames[i]!;
    const value = Number.isFinite(features[i]) ? features[i]! : null;
    const status = FEATURE_STATUSES[statuses[i]!] ?? (value === null ? 'null' : 'present');
    explained[name] = { value, status, ageSeconds: ageOf(name, value, row) };
  }
  return {
    rawScore,
    threshold,
    slice,
    readAt: known === null ? null : formatTime(known.readAt),
    error,
    features: explained,
  };
}

function ageOf(name: string, value: number | null, row: TypedRow | undefined): number | null {
  const age = row?.ages[name];
  if (row === undefined || age === undefined || age === null) return null;
  return numberOf(row.values[name]) === value ? Number(age) / 1e6 : null;
}

function numberOf(value: TypedRow['values'][string] | undefined): number | null {
  const number = typeof value === 'string' || typeof value === 'object' ? NaN : Number(value);
  return Number.isFinite(number) ? number : null;
}

/** The rows of the answers that came from a store, by their position: one read for each feature set. */
async function readAgain(
  store: OnlineReader,
  entry: RouteEntry,
  answers: readonly Answer[],
): Promise<ReadonlyMap<number, TypedRow>> {
  const groups = new Map<FeatureInput, { at: number[]; rows: FeatureRow[] }>();
  answers.forEach(({ instance, served, known }, i) => {
    if (known === null) return;
    const request = requestFor(served, entry.champion, instance);
    let group = groups.get(served.input);
    if (!group) groups.set(served.input, (group = { at: [], rows: [] }));
    group.at.push(i);
    group.rows.push({ request, asOf: instance.asOf });
  });
  const found = new Map<number, TypedRow>();
  for (const [input, { at, rows }] of groups) {
    try {
      const read = await input.readRows(store, rows);
      read.rows.forEach((row, i) => found.set(at[i]!, row));
    } catch {
      // the answers stand as they are; without the store there are no ages
    }
  }
  return found;
}
