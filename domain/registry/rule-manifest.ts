import { featureNames, type ModelSpec, type ProjectSpec, versioned } from '../project/spec.ts';
import { type ModelVersionManifest, RULE_VERSION } from './manifest.ts';
import { postProcessingOf } from './post-processing.ts';

/** What a model is before anything was trained: the rule of its spec, as version 0. */
export function ruleManifest(
  spec: ProjectSpec,
  model: ModelSpec,
  { projectDigest, author }: Pick<ModelVersionManifest, 'projectDigest' | 'author'>,
): ModelVersionManifest {
  const set = spec.featureSets.find((each) => versioned(each) === model.rule.featureSet);
  return {
    model: model.name,
    version: RULE_VERSION,
    kind: 'rule',
    project: spec.name,
    projectDigest,
    featureSet: model.rule.featureSet,
    featureNames: set === undefined ? [] : featureNames(set),
    modelFile: null,
    ...postProcessingOf(model),
    training: null,
    dataset: null,
    runId: null,
    evaluation: null,
    gateReportSha256: null,
    author,
  };
}
