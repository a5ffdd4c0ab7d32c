/**
 * Which parts of a prediction's record are personal data, by what a project declares. A column says it of itself; it spreads to
 * the request fields that are compared with it or made of it, and to the features that can give its values back.
 */
import { columnsOf, type Expression } from './expression.ts';
import {
  type AggregateFunction,
  type AggregateSpec,
  type FeatureSetSpec,
  type FeatureViewSpec,
  type ModelSpec,
  type ProjectSpec,
  versioned,
} from './spec.ts';

export interface PersonalData {
  /** Request fields of the set. */
  readonly fields: readonly string[];
  /** Features of the set that carry a personal value, or are made of one. */
  readonly features: readonly string[];
}

export const NO_PERSONAL_DATA: PersonalData = { fields: [], features: [] };

/** They say how many there were, whatever is counted. */
const COUNTING: ReadonlySet<AggregateFunction> = new Set(['count', 'rate', 'count_distinct', 'approx_count_distinct']);

/** @param featureSet `name@version` */
export function personalDataOf(project: ProjectSpec, featureSet: string): PersonalData {
  const set = project.featureSets.find((each) => versioned(each) === featureSet);
  if (set === undefined) return NO_PERSONAL_DATA;
  const fields = new Set([...declaredFields(set), ...keyFields(project, set), ...fieldsOfModels(project, set)]);
  const own = set.request.map(({ name }) => name).filter((name) => fields.has(name));
  return { fields: own, features: personalFeatures(project, set, new Set(own)) };
}

function declaredFields({ request }: FeatureSetSpec): string[] {
  return request.filter(({ pii }) => pii === true).map(({ name }) => name);
}

/** A part of an entity's key is personal when any view of the entity reads it from a personal column. */
function keyFields(project: ProjectSpec, set: FeatureSetSpec): string[] {
  return set.views.flatMap((use) => {
    const entity = viewOf(project, use.view)?.entity;
    const parts = project.views
      .filter((view) => view.entity === entity)
      .map((view) => view.key.map((column) => isPersonal(project, view.source, column)));
    return use.key.filter((_, part) => parts.some((ofView) => ofView[part]));
  });
}

/** Fields that a spine makes of personal columns, and those that a label's window compares with one. */
function fieldsOfModels(project: ProjectSpec, set: FeatureSetSpec): string[] {
  return project.models.filter((model) => reads(model, set)).flatMap((model) => fieldsOfModel(project, model));
}

function fieldsOfModel(project: ProjectSpec, model: ModelSpec): string[] {
  const spine = project.spines.find(({ name }) => name === model.spine);
  const ofSpine = (spine?.request ?? [])
    .filter(({ value }) => readsPersonal(project, spine!.source, value))
    .map(({ name }) => name);
  const label = project.labels.find(({ name }) => name === model.label);
  if (label?.window === undefined) return ofSpine;
  const joins = [{ ...label.window, source: label.source }, ...(label.window.censor ? [label.window.censor] : [])];
  const ofLabel = joins.flatMap(({ source, key, on }) => on.filter((_, i) => isPersonal(project, source, key[i]!)));
  return [...ofSpine, ...ofLabel];
}

function reads({ rule, trainings }: ModelSpec, set: FeatureSetSpec): boolean {
  const id = versioned(set);
  return rule.featureSet === id || trainings.some(({ featureSet }) => featureSet === id);
}

function personalFeatures(project: ProjectSpec, set: FeatureSetSpec, fields: ReadonlySet<string>): string[] {
  const personal = new Set<string>(fields);
  for (const feature of set.features) {
    if (feature.kind !== 'view') continue;
    const view = viewOf(project, set.views.find(({ alias }) => alias === feature.alias)?.view ?? '');
    const aggregate = view?.features.find(({ name }) => name === feature.feature);
    if (aggregate !== undefined && carriesPersonal(project, view!, aggregate)) personal.add(feature.name);
  }
  const derived = set.features.filter((feature) => feature.kind === 'derived');
  // derived features may read one another, in any order
  for (let before = -1; before !== personal.size;) {
    before = personal.size;
    for (const { name, expression } of derived)
      if ([...columnsOf(expression)].some((column) => personal.has(column))) personal.add(name);
  }
  return set.features.map(({ name }) => name).filter((name) => personal.has(name));
}

function carriesPersonal(project: ProjectSpec, view: FeatureViewSpec, { fn, of, by }: AggregateSpec): boolean {
  if (by !== undefined && readsPersonal(project, view.source, by)) return true;
  return !COUNTING.has(fn) && of !== null && readsPersonal(project, view.source, of);
}

function readsPersonal(project: ProjectSpec, source: string, expression: Expression): boolean {
  return [...columnsOf(expression)].some((column) => isPersonal(project, source, column));
}

function isPersonal({ sources }: ProjectSpec, source: string, column: string): boolean {
  return sources.find(({ name }) => name === source)?.columns.find(({ name }) => name === column)?.pii === true;
}

function viewOf({ views }: ProjectSpec, id: string): FeatureViewSpec | undefined {
  return views.find((view) => versioned(view) === id);
}
