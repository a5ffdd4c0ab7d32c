import { nameClash, refuse } from '../features/definition-rules.ts';
import { SerinError } from '../errors.ts';
import { specInvalid } from '../rollout/checked-fields.ts';
import { checkType } from './check-expression.ts';
import { checkKey } from './check-key.ts';
import { type Definitions, nameOf, NUMBERS, type Types, typesOf } from './definitions.ts';
import { type DerivedFeature, orderOfDerived } from './derived-order.ts';
import type { ColumnType } from './expression.ts';
import { checkDistinct, referenceMissing, resolve } from './names.ts';
import { outputType } from './output-type.ts';
import { featureNames, versioned } from './spec.ts';
import type { AggregateSpec, FeatureSetSpec, FeatureSpec } from './spec.ts';

type ViewFeature = Extract<FeatureSpec, { readonly kind: 'view' }>;

export function checkFeatureSet(set: FeatureSetSpec, definitions: Definitions): void {
  const { views, entities } = definitions;
  const path = `featureSets.${versioned(set)}`;
  checkDistinct(set.request.map(nameOf), `${path}.request`, 'request field');
  checkDistinct(
    set.views.map(({ alias }) => alias),
    `${path}.views`,
    'alias',
  );
  const request = typesOf(set.request);
  for (const use of set.views) {
    const view = resolve(use.view, views, `${path}.views.${use.alias}.view`, 'feature view');
    const entity = resolve(view.entity, entities, `views.${use.view}.entity`, 'entity');
    checkKey(use.key, request, entity, `${path}.views.${use.alias}.key`, 'request field');
  }
  refuse(nameClash([...set.request.map(nameOf), ...featureNames(set)]), path);
  typesInSet(set, definitions);
}

/** Types of all that a derived feature or a rule of this set may read. */
export function typesInSet(set: FeatureSetSpec, definitions: Definitions): Types {
  const path = `featureSets.${versioned(set)}.features`;
  const types = new Map<string, ColumnType>([...typesOf(set.request), ['as_of', 'ts']]);
  for (const feature of set.features) {
    if (feature.kind === 'view') types.set(feature.name, typeOfFeature(set, feature, definitions));
  }
  const derived = orderOfDerived(set, path);
  const names = [...types.keys(), ...derived.map(nameOf)];
  for (const feature of derived) {
    types.set(feature.name, checkDerived(feature, types, names, `${path}.${feature.name}.expression`));
  }
  return types;
}

/** What a model's input can hold of a view: numbers, truth values (1 and 0) and instants (microseconds). */
function typeOfFeature(set: FeatureSetSpec, feature: ViewFeature, { views, sources }: Definitions): ColumnType {
  const at = `featureSets.${versioned(set)}.features.${feature.name}`;
  const uses = new Map(set.views.map((use) => [use.alias, use]));
  const use = resolve(feature.alias, uses, `${at}.alias`, 'alias');
  const view = resolve(use.view, views, `featureSets.${versioned(set)}.views.${use.alias}.view`, 'feature view');
  const source = resolve(view.source, sources, `views.${use.view}.source`, 'source');
  const aggregates = new Map(view.features.map((each) => [each.name, each]));
  const aggregate = resolve(feature.feature, aggregates, `${at}.feature`, 'feature');
  checkWindow(feature, aggregate, at);
  const type = outputType(aggregate, typesOf(source.columns));
  if (typeof type === 'string' && type !== 'str') return type;
  const what = typeof type === 'string' ? 'a text' : 'a list';
  throw specInvalid(
    at,
    `${feature.feature} of ${use.view}`,
    `it is ${what}, and a model's input is numbers, truth values and instants; declare in the view what the model shall know of it, such as latest(row.tier.eq('gold'))`,
  );
}

function checkWindow({ name, alias, feature, window }: ViewFeature, aggregate: AggregateSpec, at: string): void {
  const isLatest = aggregate.fn === 'latest';
  if (window === null && !isLatest)
    throw specInvalid(`${at}.window`, null, `${feature} has windows: ${aggregate.windows.map(nameOf).join(', ')}`);
  if (window !== null && isLatest)
    throw specInvalid(`${at}.window`, window, `${feature} is a latest value, which has no window: null`);
  if (window !== null)
    resolve(window, new Map(aggregate.windows.map((each) => [each.name, each])), `${at}.window`, 'window');
  const expected = window === null ? `${alias}__${feature}` : `${alias}__${feature}__${window}`;
  if (name !== expected) {
    const form = window === null ? '<alias>__<feature>' : '<alias>__<feature>__<window>';
    throw specInvalid(`${at}.name`, name, `a feature of a view is named ${form}, here ${expected}`);
  }
}

function checkDerived(
  { expression }: DerivedFeature,
  types: Types,
  names: readonly string[],
  path: string,
): ColumnType {
  try {
    return checkType(expression, types, [...NUMBERS, 'bool'], path);
  } catch (error) {
    // suggest among all features of the set, also those that come later in the order
    if (!(error instanceof SerinError) || error.code !== 'REFERENCE_MISSING') throw error;
    throw referenceMissing(String(error.fields['value']), names, path, 'request field or feature');
  }
}
