/** What the names of a project refer to, and whether the types on both ends agree. */
import { SerinError } from '../errors.ts';
import { specInvalid } from '../rollout/checked-fields.ts';
import { checkType } from './check-expression.ts';
import { orderOfDerived } from './derived-order.ts';
import type { ColumnType } from './expression.ts';
import { checkDistinct, referenceMissing, resolve } from './names.ts';
import { featureNames, versioned } from './spec.ts';
import type {
  AggregateSpec,
  EntitySpec,
  FeatureSetSpec,
  FeatureViewSpec,
  LabelSpec,
  ModelSpec,
  ProjectSpec,
  SourceSpec,
  SpineSpec,
} from './spec.ts';

type Types = ReadonlyMap<string, ColumnType>;

interface Definitions {
  readonly sources: ReadonlyMap<string, SourceSpec>;
  readonly entities: ReadonlyMap<string, EntitySpec>;
  readonly views: ReadonlyMap<string, FeatureViewSpec>;
  readonly featureSets: ReadonlyMap<string, FeatureSetSpec>;
  readonly spines: ReadonlyMap<string, SpineSpec>;
  readonly labels: ReadonlyMap<string, LabelSpec>;
}

const NUMBERS: readonly ColumnType[] = ['i64', 'f64'];

export function checkReferences(spec: ProjectSpec): void {
  const definitions: Definitions = {
    sources: byName(spec.sources, nameOf, 'sources', 'source'),
    entities: byName(spec.entities, nameOf, 'entities', 'entity'),
    views: byName(spec.views, versioned, 'views', 'feature view'),
    featureSets: byName(spec.featureSets, versioned, 'featureSets', 'feature set'),
    spines: byName(spec.spines, nameOf, 'spines', 'spine'),
    labels: byName(spec.labels, nameOf, 'labels', 'label'),
  };
  byName(spec.models, nameOf, 'models', 'model');

  for (const source of spec.sources) checkSource(source);
  for (const entity of spec.entities)
    checkDistinct(entity.keys.map(nameOf), `entities.${entity.name}.keys`, 'key part');
  for (const view of spec.views) checkView(view, definitions);
  for (const set of spec.featureSets) checkFeatureSet(set, definitions);
  for (const spine of spec.spines) checkSpine(spine, definitions);
  for (const label of spec.labels) {
    const source = resolve(label.source, definitions.sources, `labels.${label.name}.source`, 'source');
    checkType(label.of, typesOf(source.columns), ['bool'], `labels.${label.name}.of`);
  }
  for (const model of spec.models) checkModel(model, definitions);
}

function checkSource(source: SourceSpec): void {
  const path = `sources.${source.name}`;
  checkDistinct(source.columns.map(nameOf), `${path}.columns`, 'column');
  const columns = new Map(source.columns.map((column) => [column.name, column]));
  const eventAt = resolve(source.eventAt, columns, `${path}.eventAt`, 'column');
  if (eventAt.type !== 'ts')
    throw specInvalid(`${path}.eventAt`, source.eventAt, `it must name a ts column, this one is ${eventAt.type}`);
  if (eventAt.nullable)
    throw specInvalid(`${path}.columns.${eventAt.name}.nullable`, true, 'the column of eventAt is never null');
  checkType(source.availableAt, typesOf(source.columns), ['ts'], `${path}.availableAt`);
  checkDistinct(source.eventId, `${path}.eventId`, 'column');
  for (const name of source.eventId) resolve(name, columns, `${path}.eventId`, 'column');
}

function checkView(view: FeatureViewSpec, { sources, entities }: Definitions): void {
  const path = `views.${versioned(view)}`;
  const source = resolve(view.source, sources, `${path}.source`, 'source');
  const entity = resolve(view.entity, entities, `${path}.entity`, 'entity');
  const types = typesOf(source.columns);
  checkKey(view.key, types, entity, `${path}.key`, 'column');
  checkDistinct(view.features.map(nameOf), `${path}.features`, 'feature');
  for (const feature of view.features) checkAggregate(feature, types, `${path}.features.${feature.name}`);
}

function checkAggregate({ fn, of, where, windows }: AggregateSpec, types: Types, path: string): void {
  if (of !== null) checkType(of, types, fn === 'share' ? ['bool'] : NUMBERS, `${path}.of`);
  if (where !== null) checkType(where, types, ['bool'], `${path}.where`);
  checkDistinct(windows.map(nameOf), `${path}.windows`, 'window');
}

/** A key, given by columns or request fields, in the order and of the types of the entity's parts. */
function checkKey(key: readonly string[], types: Types, entity: EntitySpec, path: string, what: string): void {
  if (key.length !== entity.keys.length) {
    throw specInvalid(
      path,
      key,
      `it must have one ${what} for each key part of ${entity.name}: ${entity.keys.map(nameOf).join(', ')}`,
    );
  }
  for (const [index, part] of entity.keys.entries()) {
    const name = key[index] ?? '';
    const type = resolve(name, types, `${path}[${index}]`, what);
    if (type !== part.type)
      throw specInvalid(
        `${path}[${index}]`,
        name,
        `the key part ${part.name} is ${part.type}, this ${what} is ${type}`,
      );
  }
}

function checkFeatureSet(set: FeatureSetSpec, { views, entities }: Definitions): void {
  const path = `featureSets.${versioned(set)}`;
  checkDistinct(set.request.map(nameOf), `${path}.request`, 'request field');
  checkDistinct(
    set.views.map(({ alias }) => alias),
    `${path}.views`,
    'alias',
  );
  const request = typesOf(set.request);
  const viewOf = new Map<string, FeatureViewSpec>();
  for (const use of set.views) {
    const view = resolve(use.view, views, `${path}.views.${use.alias}.view`, 'feature view');
    checkKey(
      use.key,
      request,
      resolve(view.entity, entities, `views.${use.view}.entity`, 'entity'),
      `${path}.views.${use.alias}.key`,
      'request field',
    );
    viewOf.set(use.alias, view);
  }
  checkDistinct([...set.request.map(nameOf), ...featureNames(set)], path, 'request field or feature');
  for (const feature of set.features) {
    if (feature.kind !== 'view') continue;
    const at = `${path}.features.${feature.name}`;
    const view = resolve(feature.alias, viewOf, `${at}.alias`, 'alias');
    const aggregate = resolve(
      feature.feature,
      new Map(view.features.map((each) => [each.name, each])),
      `${at}.feature`,
      'feature',
    );
    resolve(feature.window, new Map(aggregate.windows.map((each) => [each.name, each])), `${at}.window`, 'window');
    const name = `${feature.alias}__${feature.feature}__${feature.window}`;
    if (feature.name !== name)
      throw specInvalid(
        `${at}.name`,
        feature.name,
        `a feature of a view is named <alias>__<feature>__<window>, here ${name}`,
      );
  }
  typesInSet(set);
}

/** Types of all that a derived feature or a rule of this set may read. */
function typesInSet(set: FeatureSetSpec): Types {
  const path = `featureSets.${versioned(set)}.features`;
  const types = new Map<string, ColumnType>([...typesOf(set.request), ['as_of', 'ts']]);
  for (const feature of set.features) if (feature.kind === 'view') types.set(feature.name, 'f64');
  const derived = orderOfDerived(set, path);
  const names = [...types.keys(), ...derived.map(nameOf)];
  for (const feature of derived) {
    types.set(feature.name, checkDerived(feature, types, names, `${path}.${feature.name}.expression`));
  }
  return types;
}

function checkDerived(
  { expression }: { readonly expression: Parameters<typeof checkType>[0] },
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

function checkSpine(spine: SpineSpec, { sources }: Definitions): void {
  const path = `spines.${spine.name}`;
  const types = typesOf(resolve(spine.source, sources, `${path}.source`, 'source').columns);
  checkType(spine.asOf, types, ['ts'], `${path}.asOf`);
  if (spine.where !== null) checkType(spine.where, types, ['bool'], `${path}.where`);
  checkDistinct(spine.request.map(nameOf), `${path}.request`, 'request field');
  for (const field of spine.request)
    checkType(field.value, types, ['i64', 'f64', 'bool', 'str', 'ts'], `${path}.request.${field.name}`);
}

function checkModel(model: ModelSpec, definitions: Definitions): void {
  const path = `models.${model.name}`;
  const spine = resolve(model.spine, definitions.spines, `${path}.spine`, 'spine');
  const label = resolve(model.label, definitions.labels, `${path}.label`, 'label');
  if (label.source !== spine.source) {
    throw specInvalid(
      `${path}.label`,
      model.label,
      `a label is the outcome of the spine's own event, so its source must be that of ${spine.name}: ${spine.source}`,
    );
  }
  const source = resolve(label.source, definitions.sources, `labels.${label.name}.source`, 'source');
  const sent = typesOfRequest(spine, source);
  const serve = (name: string, at: string): FeatureSetSpec => {
    const set = resolve(name, definitions.featureSets, at, 'feature set');
    checkServed(set, spine, sent, at);
    checkLabelDelay(set, source, definitions, at);
    return set;
  };

  const ruleSet = serve(model.rule.featureSet, `${path}.rule.featureSet`);
  checkType(model.rule.expression, typesInSet(ruleSet), NUMBERS, `${path}.rule.expression`);

  checkDistinct(model.monitors.map(nameOf), `${path}.monitors`, 'monitor');
  checkDistinct(model.trainings.map(nameOf), `${path}.trainings`, 'training');
  const sets = model.trainings.map((training) =>
    serve(training.featureSet, `${path}.trainings.${training.name}.featureSet`),
  );
  const sliceable = new Map([...sent.keys(), ...sets.flatMap(featureNames)].map((name) => [name, name]));
  for (const [index, gate] of model.gates.entries()) {
    if (gate.kind === 'slices')
      resolve(gate.slice, sliceable, `${path}.gates[${index}].slice`, 'request field or feature');
  }
}

function typesOfRequest(spine: SpineSpec, source: SourceSpec): Types {
  const columns = typesOf(source.columns);
  return new Map(
    spine.request.map(({ name, value }) => [
      name,
      checkType(value, columns, ['i64', 'f64', 'bool', 'str', 'ts'], `spines.${spine.name}.request.${name}`),
    ]),
  );
}

/** Every request field of the set is in the spine; a whole number may stand where the set wants a double. */
function checkServed(set: FeatureSetSpec, spine: SpineSpec, sent: Types, path: string): void {
  for (const { name, type } of set.request) {
    const given = sent.get(name);
    if (given === undefined) {
      throw referenceMissing(
        name,
        [...sent.keys()],
        `${path}: request field of ${versioned(set)}`,
        `request field in the spine ${spine.name}`,
      );
    }
    if (given !== type && !(given === 'i64' && type === 'f64')) {
      throw specInvalid(
        `${path}: request field ${name} of ${versioned(set)}`,
        type,
        `the spine ${spine.name} gives ${given}`,
      );
    }
  }
}

/**
 * A source that gives the label must say how late it is known: available at its own event time it would put the outcome
 * into the features of its own row. A second source with such a declaration passes here: that is what the leakage gate
 * looks for, on the rows.
 */
function checkLabelDelay(set: FeatureSetSpec, label: SourceSpec, { views }: Definitions, path: string): void {
  const reader = set.views.find((use) => views.get(use.view)?.source === label.name);
  const { availableAt } = label;
  if (reader === undefined || availableAt.op !== 'column' || availableAt.name !== label.eventAt) return;
  throw specInvalid(
    path,
    versioned(set),
    `the source ${label.name} gives the label and the features of ${reader.alias} (${reader.view}), but is declared available at its event time, ${label.eventAt}; declare in its availableAt when an outcome is really known`,
  );
}

function nameOf({ name }: { readonly name: string }): string {
  return name;
}

function typesOf(columns: readonly { readonly name: string; readonly type: ColumnType }[]): Map<string, ColumnType> {
  return new Map(columns.map(({ name, type }) => [name, type]));
}

function byName<T>(items: readonly T[], name: (item: T) => string, path: string, what: string): Map<string, T> {
  checkDistinct(items.map(name), path, what);
  return new Map(items.map((item) => [name(item), item]));
}
