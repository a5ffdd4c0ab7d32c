/** Answers of the inference tier as text. */
import { fields } from '../output.ts';

export interface Prediction {
  readonly predictionId: string;
  readonly score: number;
  readonly label: number;
  readonly class?: string;
  readonly version: number;
  readonly answeredBy?: string;
  readonly arm: string;
  readonly rung: string;
  readonly reason?: string;
  readonly asOf: string;
  /** From here on with --explain. */
  readonly rawScore?: number;
  readonly threshold?: number;
  readonly slice?: string | null;
  readonly error?: string | null;
  readonly features?: Readonly<Record<string, Feature>>;
}

interface Feature {
  readonly value: number | null;
  readonly status: string;
  readonly ageSeconds: number | null;
}

export function showPredictions(predictions: readonly Prediction[]): string {
  return predictions.map(shown).join('\n\n');
}

function shown({ features = {}, ...prediction }: Prediction): string {
  const { version, arm, rung, reason, answeredBy, slice } = prediction;
  const answerer = answeredBy === undefined ? `v${version}` : `${answeredBy} v${version}`;
  return fields({
    prediction: prediction.predictionId,
    score: prediction.score,
    'raw score': prediction.rawScore,
    label: prediction.class === undefined ? prediction.label : `${prediction.label} (${prediction.class})`,
    threshold:
      prediction.threshold === undefined
        ? undefined
        : `${prediction.threshold}${typeof slice === 'string' ? ` (of ${slice})` : ''}`,
    'answered by': `${answerer} (${[...new Set([arm, rung, ...(reason === undefined ? [] : [reason])])].join(', ')})`,
    error: prediction.error,
    'as of': prediction.asOf,
    ...Object.fromEntries(Object.entries(features).map(([name, feature]) => [name, featureText(feature)])),
  });
}

/** `12.5`, `12.5 (40 s old)`, `none (expired)` */
function featureText({ value, status, ageSeconds }: Feature): string {
  const notes = [
    ...(status === 'present' ? [] : [status.replace('_', ' ')]),
    ...(ageSeconds === null ? [] : [`${Math.round(ageSeconds)} s old`]),
  ];
  return `${value ?? 'none'}${notes.length === 0 ? '' : ` (${notes.join(', ')})`}`;
}
