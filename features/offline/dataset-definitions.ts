import { SerinError } from '../../domain/errors.ts';
import { columnsOf } from '../../domain/project/expression.ts';
import {
  type FeatureSpec,
  type FeatureViewSpec,
  type LabelSpec,
  type ModelSpec,
  type ProjectSpec,
  type SourceSpec,
  type SpineSpec,
  versioned,
} from '../../domain/project/spec.ts';
import { compileFeatureSet, type FeatureSetPlan } from '../kernel/feature-set-plan.ts';

/** Everything of a project that the features of rows are made of. */
export interface FeatureDefinitions {
  readonly featureSet: FeatureSetPlan;
  /** The views as they are declared, at the positions of `featureSet.views`. */
  readonly views: readonly FeatureViewSpec[];
  /** Positions of the derived features in the feature set, and of the view features that they read. */
  readonly derived: readonly number[];
  readonly derivedReads: readonly number[];
  /** Sources that are read, each once: those of a spine first. */
  readonly sources: readonly SourceSpec[];
}

/** Everything of a project that one dataset is made of. */
export interface DatasetDefinitions extends FeatureDefinitions {
  readonly model: ModelSpec;
  readonly spine: SpineSpec;
  readonly label: LabelSpec;
  readonly spineSource: SourceSpec;
}

/** @throws REFERENCE_MISSING naming what does not exist */
export function featureDefinitions(project: ProjectSpec, featureSetId: string): FeatureDefinitions {
  return definitionsOf(project, compileFeatureSet(project, featureSetId), []);
}

/** @throws REFERENCE_MISSING naming what does not exist; SPEC_INVALID when the spine does not fit the label or the feature set. */
export function datasetDefinitions(project: ProjectSpec, modelName: string, featureSetId: string): DatasetDefinitions {
  const model = find(project.models, modelName, 'model');
  const spine = find(project.spines, model.spine, 'spine');
  const label = find(project.labels, model.label, 'label');
  const featureSet = compileFeatureSet(project, featureSetId);
  if (label.window === undefined && (label.source !== spine.source || spine.sql !== undefined)) {
    throw new SerinError(
      'SPEC_INVALID',
      spine.sql === undefined
        ? `the label "${label.name}" is over ${label.source} but the spine "${spine.name}" over ${spine.source}: a label without a window belongs to the spine's own event`
        : `the label "${label.name}" has no window but the rows of the spine "${spine.name}" are no events: give it a window`,
    );
  }
  const given = new Set(spine.request.map((field) => field.name));
  const absent = spine.sql === undefined ? featureSet.request.filter((field) => !given.has(field.name)) : [];
  if (absent.length > 0) {
    throw new SerinError(
      'SPEC_INVALID',
      `${featureSetId} needs the request fields ${absent.map((field) => field.name).join(', ')}, which the spine "${spine.name}" does not give`,
    );
  }
  const { window } = label;
  const asked = [
    ...(spine.sql?.sources ?? [spine.source]),
    ...featureSet.views.map((view) => view.plan.source),
    ...(window === undefined ? [] : [label.source, ...(window.censor ? [window.censor.source] : [])]),
  ];
  const definitions = definitionsOf(project, featureSet, asked);
  const { sources } = definitions;
  const spineSource = sources.find(({ name }) => name === spine.source) ?? sources[0]!;
  return { model, spine, label, spineSource, ...definitions };
}

/** @param first sources that are read besides those of the views, in front of them */
function definitionsOf(project: ProjectSpec, featureSet: FeatureSetPlan, first: readonly string[]): FeatureDefinitions {
  const { features } = find(project.featureSets, featureSet.id, 'feature set', versioned);
  const read = new Set<string>();
  for (const feature of features) if (feature.kind === 'derived') columnsOf(feature.expression, read);
  const positions = (holds: (feature: FeatureSpec) => boolean): number[] =>
    features.flatMap((feature, i) => (holds(feature) ? [i] : []));
  const names = new Set([...first, ...featureSet.views.map((view) => view.plan.source)]);
  return {
    featureSet,
    views: featureSet.views.map(({ plan }) => find(project.views, plan.id, 'feature view', versioned)),
    derived: positions(({ kind }) => kind === 'derived'),
    derivedReads: positions(({ kind, name }) => kind === 'view' && read.has(name)),
    sources: [...names].map((name) => find(project.sources, name, 'source')),
  };
}

function find<T>(
  all: readonly T[],
  name: string,
  what: string,
  nameOf: (item: T) => string = (item) => (item as { readonly name: string }).name,
): T {
  const found = all.find((item) => nameOf(item) === name);
  if (found) return found;
  throw new SerinError(
    'REFERENCE_MISSING',
    `the ${what} "${name}" does not exist; there are ${all.map(nameOf).join(', ') || 'none'}`,
  );
}
