import type { FeatureInput } from '../scoring/feature-batch.ts';
import type { Scorer } from './scorer.ts';

/** One version of a model, loaded and warm. Immutable: a batch that has begun with it ends with it. */
export interface ServedVersion {
  readonly model: string;
  readonly version: number;
  readonly kind: 'rule' | 'onnx';
  /** `name@version` of the feature set, and what turns a request and stored state into its columns. */
  readonly featureSet: string;
  readonly featureNames: readonly string[];
  readonly input: FeatureInput;
  readonly scorer: Scorer;
  /** Score from which the label is 1. */
  readonly threshold: number;
}
