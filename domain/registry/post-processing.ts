import { type Calibration, calibrate } from '../calibration/calibration.ts';
import type { Row, Value } from '../project/expression.ts';

/** What is done to a version's scores before they are answers: members of its manifest. */
export interface PostProcessing {
  /** Score from which the label is 1. */
  readonly threshold: number;
  readonly calibration?: Calibration;
  /** Names of label 0 and label 1. */
  readonly classes?: readonly [string, string];
  readonly slices?: SliceThresholds;
}

/** Thresholds for some values of a request field; every other value has the version's own. */
export interface SliceThresholds {
  readonly by: string;
  /** By the value as text: `AA`, `3`, `true`. */
  readonly thresholds: Readonly<Record<string, number>>;
}

/** What a score means. */
export interface Decision {
  readonly label: 0 | 1;
  /** null: the classes have no names. */
  readonly className: string | null;
  /** The one that decided. */
  readonly threshold: number;
  /** The value whose threshold it is; null: the version's own. */
  readonly slice: string | null;
}

export interface Processed extends Decision {
  /** The calibrated probability; the raw score where the version has no calibration. */
  readonly score: number;
  /** What the model gave. */
  readonly rawScore: number;
}

/**
 * From what a model gave to what is answered: the one way for online answers, shadows, batches and the evaluation that the
 * gates judge. For a slice the label never falls when the raw score rises.
 * @param request the instance's fields; those that no slice is by are not read
 */
export function postProcess(version: PostProcessing, rawScore: number, request: Row): Processed {
  const { calibration } = version;
  const score = calibration === undefined ? rawScore : calibrate(calibration, rawScore);
  const { label, className, threshold, slice } = decide(version, score, request);
  return { score, rawScore, label, className, threshold, slice };
}

/** @param score as answered (calibrated) */
export function decide(version: PostProcessing, score: number, request: Row): Decision {
  const { classes, slices } = version;
  const slice = sliceOf(version, request);
  const threshold = slice === null ? version.threshold : slices!.thresholds[slice]!;
  const label = score >= threshold ? 1 : 0;
  return { label, className: classes === undefined ? null : classes[label], threshold, slice };
}

/** The value of the slicing field if it has a threshold of its own. */
function sliceOf({ slices }: PostProcessing, request: Row): string | null {
  if (slices === undefined) return null;
  const text = sliceText(request[slices.by]);
  return text !== null && Object.hasOwn(slices.thresholds, text) ? text : null;
}

/** The members that a version's manifest has of these; what a version does not have stays absent. */
export function postProcessingOf({ threshold, calibration, classes, slices }: PostProcessing): PostProcessing {
  return {
    threshold,
    ...(calibration !== undefined && { calibration }),
    ...(classes !== undefined && { classes }),
    ...(slices !== undefined && { slices }),
  };
}

function sliceText(value: Value | undefined): string | null {
  return value === null || value === undefined ? null : String(value);
}
