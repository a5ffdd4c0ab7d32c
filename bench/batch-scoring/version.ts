import type { ScoreJob } from '../../domain/scoring/score-job.ts';
import { PROJECT_FORMAT } from '../../domain/project/spec.ts';

export const FEATURES = Array.from({ length: 12 }, (_, i) => `f${i}`);

/** A version with ready features f0…f11: what a job needs of the registry. */
export function aBenchVersion(): Pick<ScoreJob, 'project' | 'manifest'> {
  const nothing = { sources: [], entities: [], views: [], spines: [], labels: [], featureSets: [], models: [] };
  return {
    project: { format: PROJECT_FORMAT, name: 'bench', ...nothing } as unknown as ScoreJob['project'],
    manifest: {
      model: 'bench',
      version: 1,
      kind: 'onnx',
      project: 'bench',
      projectDigest: '',
      featureSet: 'bench@1',
      featureNames: FEATURES,
      modelFile: null,
      threshold: 0.5,
      training: null,
      dataset: null,
      runId: null,
      evaluation: null,
      gateReportSha256: null,
      author: 'bench',
    },
  };
}
