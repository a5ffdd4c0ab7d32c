/** The definitions of a project by name, as its checks look them up. */
import type { ColumnType } from './expression.ts';
import { checkDistinct } from './names.ts';
import { versioned } from './spec.ts';
import type {
  EntitySpec,
  FeatureSetSpec,
  FeatureViewSpec,
  LabelSpec,
  ProjectSpec,
  SourceSpec,
  SpineSpec,
} from './spec.ts';

export type Types = ReadonlyMap<string, ColumnType>;

export const NUMBERS: readonly ColumnType[] = ['i64', 'f64'];
export const ANY_TYPE: readonly ColumnType[] = ['i64', 'f64', 'bool', 'str', 'ts'];

export interface Definitions {
  readonly sources: ReadonlyMap<string, SourceSpec>;
  readonly entities: ReadonlyMap<string, EntitySpec>;
  readonly views: ReadonlyMap<string, FeatureViewSpec>;
  readonly featureSets: ReadonlyMap<string, FeatureSetSpec>;
  readonly spines: ReadonlyMap<string, SpineSpec>;
  readonly labels: ReadonlyMap<string, LabelSpec>;
}

/** @throws SerinError DUPLICATE_NAME */
export function definitionsOf(spec: ProjectSpec): Definitions {
  byName(spec.models, nameOf, 'models', 'model');
  return {
    sources: byName(spec.sources, nameOf, 'sources', 'source'),
    entities: byName(spec.entities, nameOf, 'entities', 'entity'),
    views: byName(spec.views, versioned, 'views', 'feature view'),
    featureSets: byName(spec.featureSets, versioned, 'featureSets', 'feature set'),
    spines: byName(spec.spines, nameOf, 'spines', 'spine'),
    labels: byName(spec.labels, nameOf, 'labels', 'label'),
  };
}

export function nameOf({ name }: { readonly name: string }): string {
  return name;
}

export function typesOf(
  columns: readonly { readonly name: string; readonly type: ColumnType }[],
): Map<string, ColumnType> {
  return new Map(columns.map(({ name, type }) => [name, type]));
}

function byName<T>(items: readonly T[], name: (item: T) => string, path: string, what: string): Map<string, T> {
  checkDistinct(items.map(name), path, what);
  return new Map(items.map((item) => [name(item), item]));
}
