import type { FeatureKnowledge } from '../../db/predictions.ts';
import { postProcess } from '../../domain/registry/post-processing.ts';
import type { RouteEntry, Rung } from '../routing/route-entry.ts';
import type { Answer, Failure, FallbackReason, Instance, Standing } from './answer.ts';
import type { Assignment } from './ladder.ts';

/** A row on its way down the ladder. */
export interface Row {
  readonly instance: Instance;
  readonly entry: RouteEntry;
  readonly arm: Answer['arm'];
  readonly ladder: readonly Rung[];
  /** The rung it stands on; past the last one it gets the constant. */
  rung: number;
  /** What the model gave; NaN as long as none did. */
  score: number;
  features: Float64Array;
  statuses: Uint8Array;
  known: FeatureKnowledge | null;
  /** Of the first rung that failed. */
  reason: FallbackReason | null;
  error: string | null;
}

const NO_FEATURES = new Float64Array(0);
const NO_STATUSES = new Uint8Array(0);

export function rowOf(entry: RouteEntry, instance: Instance, { arm, ladder }: Assignment): Row {
  return {
    instance,
    entry,
    arm,
    ladder,
    rung: 0,
    score: NaN,
    features: NO_FEATURES,
    statuses: NO_STATUSES,
    known: null,
    reason: null,
    error: null,
  };
}

/** The version it stands on has no score for it. */
export function descend(row: Row, failure: Failure): void {
  noteFailure(row, failure);
  row.rung++;
}

/** Says why, the first time, without going on. */
export function noteFailure(row: Row, { reason, message }: Failure): void {
  if (row.error !== null) return;
  row.reason = reason;
  row.error = `${nameOf(row)}: ${message}`;
}

/** Who is asked for it now; it must not be past its last rung. */
export function standingOf({ arm, ladder, rung }: Row): Standing {
  const { name, served } = ladder[rung]!;
  return { version: served.version, arm, rung: name };
}

/** A row past its last rung gets the constant. */
export function isWaiting({ score, rung, ladder }: Row): boolean {
  return Number.isNaN(score) && rung < ladder.length;
}

export function answerOf(row: Row): Answer {
  const { instance, entry, arm, ladder, rung, features, statuses, known, reason, error } = row;
  const last = ladder[rung];
  const constant = Number.isNaN(row.score);
  const served = constant || last === undefined ? entry.rule : last.served;
  // the rule as champion without its stored features is what the rule is at the end of the ladder
  const name = error !== null && served === entry.rule ? 'rule' : last?.name;
  const processed = postProcess(served, constant ? entry.constantScore : row.score, instance.request);
  const { score, rawScore, label, threshold, slice } = processed;
  // another model's classes may have other names
  const className = name === 'fallback' ? (entry.champion.classes?.[label] ?? null) : processed.className;
  return {
    instance,
    arm,
    armVersion: ladder[0]!.served.version,
    served,
    version: served.version,
    rung: constant ? 'constant' : name!,
    epoch: entry.route.epoch,
    score,
    rawScore,
    label,
    className,
    threshold,
    slice,
    features,
    statuses,
    featureNames: served.featureNames,
    known,
    reason,
    error,
  };
}

function nameOf({ entry, ladder, rung }: Row): string {
  const { model, version } = ladder[rung]!.served;
  return model === entry.route.model ? `v${version}` : `${model} v${version}`;
}
