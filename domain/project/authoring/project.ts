import { checkProjectSpec } from '../check.ts';
import { PROJECT_FORMAT } from '../spec.ts';
import type { ProjectSpec } from '../spec.ts';
import type { AnyFeatureSet } from './feature-set.ts';
import type { Label } from './label.ts';
import type { Model } from './model.ts';
import type { Source } from './source.ts';
import type { FeatureView } from './view.ts';

interface ProjectDefinition {
  readonly description: string;
  readonly models: readonly Model[];
  /** Feature sets that no model reads yet; their views, sources and entities come along. */
  readonly featureSets?: readonly AnyFeatureSet<never>[];
  /** Views that no feature set reads yet. */
  readonly views?: readonly AnyView[];
  /** Labels that no model predicts yet. */
  readonly labels?: readonly Label<never>[];
  /** Sources that nothing reads yet. */
  readonly sources?: readonly Pick<Source, 'spec'>[];
}

/** A view whatever its key and features are. */
type AnyView = Pick<FeatureView, 'spec' | 'source' | 'entity'>;

/**
 * Compiles everything the models reach.
 * @throws SerinError SPEC_INVALID and the other codes of `checkProjectSpec`
 */
export function project(
  name: string,
  { description, models, featureSets = [], views: more = [], labels: others = [], sources = [] }: ProjectDefinition,
): ProjectSpec {
  const sets = distinct([...models.flatMap((each) => each.featureSets), ...featureSets]);
  const views = distinct<AnyView>([...sets.flatMap((set) => set.views), ...more]);
  const spines = distinct(models.map((each) => each.spine));
  const labels = distinct([...models.map((each) => each.label), ...others]);
  const censors = labels.flatMap(({ censorSource }) => (censorSource === null ? [] : [censorSource]));
  const everySource = distinct<Pick<Source, 'spec'>>([
    ...views.map((each) => each.source),
    ...spines.flatMap((each) => each.sources),
    ...labels.map((each) => each.source),
    ...censors,
    ...sources,
  ]);
  return checkProjectSpec({
    format: PROJECT_FORMAT,
    name,
    description,
    sources: everySource.map(specOf),
    entities: distinct(views.map((view) => view.entity)).map(specOf),
    views: views.map(specOf),
    featureSets: sets.map(specOf),
    spines: spines.map(specOf),
    labels: labels.map(specOf),
    models: models.map(specOf),
  } satisfies ProjectSpec);
}

/** Each object once: two different ones of the same name stay, for the check to refuse. */
function distinct<T>(items: readonly T[]): T[] {
  return [...new Set(items)];
}

function specOf<T>({ spec }: { readonly spec: T }): T {
  return spec;
}
