/** One logged answer with everything it came from: the version and its manifest, the features, what was known, the rollout. */
import type { Db } from '../db/database.ts';
import type { LoggedPrediction } from '../db/predictions.ts';
import { findVersion } from '../db/registry.ts';
import { findRolloutAt } from '../db/rollouts.ts';
import { FEATURE_STATUSES } from '../domain/features/feature-status.ts';
import type { ModelVersionManifest } from '../domain/registry/manifest.ts';
import { type Decision, decide } from '../domain/registry/post-processing.ts';

export interface ExplainedFeature {
  readonly name: string;
  /** Null: missing, or withheld. */
  readonly value: number | null;
  /** Of `FEATURE_STATUSES`; null: not kept. */
  readonly status: string | null;
  /** It is personal and was not logged. */
  readonly withheld: boolean;
}

export interface PredictionExplanation {
  /** Null: the registry does not know the version that answered. */
  readonly version: {
    readonly model: string;
    readonly version: number;
    readonly kind: 'rule' | 'onnx';
    readonly stage: string;
    readonly manifestSha256: string;
    readonly project: string;
    readonly projectDigest: string;
    readonly featureSet: string;
    readonly dataset: string | null;
    readonly runId: string | null;
    readonly calibration: string | null;
  } | null;
  /** How the score became a label; null: the version is not known, or what its slice goes by is personal. */
  readonly decision: Decision | null;
  readonly features: readonly ExplainedFeature[];
  /** The rollout that was under way when it was given. */
  readonly rollout: { readonly rolloutId: string; readonly version: number; readonly phase: string } | null;
  readonly links: { readonly version: string; readonly rollout?: string };
}

export async function explainPrediction(db: Db, answer: LoggedPrediction): Promise<PredictionExplanation> {
  const model = answer.servedModel ?? answer.model;
  const [served, rollout] = await Promise.all([
    findVersion(db, model, answer.version),
    findRolloutAt(db, answer.model, answer.answeredAt),
  ]);
  const links = {
    version: `/v1/models/${model}/versions/${answer.version}`,
    ...(rollout !== undefined && { rollout: `/v1/rollouts/${answer.model}/${rollout.version}` }),
  };
  const about =
    rollout === undefined ? null : { rolloutId: rollout.rolloutId, version: rollout.version, phase: rollout.phase };
  if (served === undefined)
    return { version: null, decision: null, features: featuresOf(answer, null), rollout: about, links };
  const { manifest } = served;
  return {
    version: {
      model,
      version: answer.version,
      kind: manifest.kind,
      stage: served.stage,
      manifestSha256: served.manifestSha256,
      project: manifest.project,
      projectDigest: manifest.projectDigest,
      featureSet: manifest.featureSet,
      dataset: manifest.dataset,
      runId: manifest.runId,
      calibration: manifest.calibration?.method ?? null,
    },
    decision: decisionOf(answer, manifest),
    features: featuresOf(answer, manifest),
    rollout: about,
    links,
  };
}

function decisionOf(answer: LoggedPrediction, manifest: ModelVersionManifest): Decision | null {
  const { slices } = manifest;
  if (slices !== undefined && answer.redacted.includes(`request.${slices.by}`)) return null;
  return decide(manifest, answer.score, answer.request);
}

function featuresOf(
  { features, statuses, redacted }: LoggedPrediction,
  manifest: ModelVersionManifest | null,
): ExplainedFeature[] {
  return features.map((value, i) => {
    const name = manifest?.featureNames[i] ?? `#${i}`;
    const status = statuses[i];
    return {
      name,
      value,
      status: status === undefined ? null : (FEATURE_STATUSES[status] ?? null),
      withheld: redacted.includes(`features.${name}`),
    };
  });
}
