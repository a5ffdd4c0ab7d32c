import { SerinError } from '../../domain/errors.ts';
import type { LabelSpec, ModelSpec, ProjectSpec, SourceSpec, SpineSpec } from '../../domain/project/spec.ts';
import { compileFeatureSet, type FeatureSetPlan } from '../kernel/feature-set-plan.ts';

/** Everything of a project that one dataset is made of. */
export interface DatasetDefinitions {
  readonly model: ModelSpec;
  readonly spine: SpineSpec;
  readonly label: LabelSpec;
  readonly spineSource: SourceSpec;
  readonly featureSet: FeatureSetPlan;
  /** Sources that are read: the spine's, then those of the views. */
  readonly sources: readonly SourceSpec[];
}

/** @throws REFERENCE_MISSING naming what does not exist; SPEC_INVALID when the spine does not fit the label or the feature set. */
export function datasetDefinitions(project: ProjectSpec, modelName: string, featureSetId: string): DatasetDefinitions {
  const model = find(project.models, modelName, 'model');
  const spine = find(project.spines, model.spine, 'spine');
  const label = find(project.labels, model.label, 'label');
  const featureSet = compileFeatureSet(project, featureSetId);
  if (label.source !== spine.source) {
    throw new SerinError(
      'SPEC_INVALID',
      `the label "${label.name}" is over ${label.source} but the spine "${spine.name}" over ${spine.source}: a label belongs to the spine's own event`,
    );
  }
  const given = new Set(spine.request.map((field) => field.name));
  const absent = featureSet.request.filter((field) => !given.has(field.name));
  if (absent.length > 0) {
    throw new SerinError(
      'SPEC_INVALID',
      `${featureSetId} needs the request fields ${absent.map((field) => field.name).join(', ')}, which the spine "${spine.name}" does not give`,
    );
  }
  const names = new Set([spine.source, ...featureSet.views.map((view) => view.source)]);
  const sources = [...names].map((name) => find(project.sources, name, 'source'));
  return { model, spine, label, spineSource: sources[0]!, featureSet, sources };
}

function find<T extends { readonly name: string }>(all: readonly T[], name: string, what: string): T {
  const found = all.find((item) => item.name === name);
  if (found) return found;
  throw new SerinError(
    'REFERENCE_MISSING',
    `the ${what} "${name}" does not exist; there are ${all.map((item) => item.name).join(', ') || 'none'}`,
  );
}
