import type { BlobRef } from '../blob.ts';
import type { EvaluationReport } from '../training/evaluation-report.ts';
import type { GoldenRows } from './golden-rows.ts';
import type { PostProcessing } from './post-processing.ts';

/** Version 0 of every model: its rule baseline. */
export const RULE_VERSION = 0;

/** Everything a version is, immutable and content-hashed: what is served can be traced from here to rows and code. */
export interface ModelVersionManifest extends PostProcessing {
  readonly model: string;
  readonly version: number;
  readonly kind: 'rule' | 'onnx';
  readonly project: string;
  readonly projectDigest: string;
  /** `name@version` of the feature set whose columns are the model's input, in this order. */
  readonly featureSet: string;
  readonly featureNames: readonly string[];
  /** null for a rule: it is in the project's spec. */
  readonly modelFile: BlobRef | null;
  /** What a server must answer before it takes the version into service; versions from before have none, rules need none. */
  readonly goldens?: GoldenRows;
  readonly training: string | null;
  readonly dataset: string | null;
  readonly runId: string | null;
  readonly evaluation: EvaluationReport | null;
  readonly gateReportSha256: string | null;
  readonly author: string;
}
