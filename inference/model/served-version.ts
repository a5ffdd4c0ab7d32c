import type { PersonalData } from '../../domain/project/personal-data.ts';
import type { PostProcessing } from '../../domain/registry/post-processing.ts';
import type { FeatureInput } from '../scoring/feature-batch.ts';
import type { Scorer } from './scorer.ts';

/** One version of a model, loaded and warm. Immutable: a batch that has begun with it ends with it. */
export interface ServedVersion extends PostProcessing {
  readonly model: string;
  readonly version: number;
  readonly kind: 'rule' | 'onnx';
  /** `name@version` of the feature set, and what turns a request and stored state into its columns. */
  readonly featureSet: string;
  readonly featureNames: readonly string[];
  readonly input: FeatureInput;
  readonly scorer: Scorer;
  /** Of its feature set; none of it is logged as it is (`accounting/redaction.ts`). */
  readonly personal: PersonalData;
  /** Milliseconds it has to compute a batch; absent: it is waited for. */
  readonly timeoutMs?: number;
  /** Columns without which it is not asked for a row; absent: none. */
  readonly mandatory?: readonly number[];
}
