import { boundaryMismatch, keyTypeMismatch, refuse } from '../features/definition-rules.ts';
import type { SliceThresholds } from '../registry/post-processing.ts';
import { specInvalid } from '../rollout/checked-fields.ts';
import { assumesAvailability } from './availability.ts';
import { checkType } from './check-expression.ts';
import { typesInSet } from './check-feature-set.ts';
import { ANY_TYPE, type Definitions, nameOf, NUMBERS, type Types, typesOf } from './definitions.ts';
import type { ColumnType } from './expression.ts';
import { checkDistinct, referenceMissing, resolve } from './names.ts';
import { featureNames, versioned } from './spec.ts';
import type { FeatureSetSpec, LabelSpec, LabelWindowSpec, ModelSpec, SpineSpec } from './spec.ts';

export function checkModel(model: ModelSpec, definitions: Definitions): void {
  const path = `models.${model.name}`;
  const spine = resolve(model.spine, definitions.spines, `${path}.spine`, 'spine');
  const label = resolve(model.label, definitions.labels, `${path}.label`, 'label');
  const sent = spine.sql === undefined ? typesOfRequest(spine, definitions) : typesAskedFor(model, definitions, path);
  checkOutcome(label, spine, sent, definitions, `${path}.label`);
  const serve = (name: string, at: string): FeatureSetSpec => {
    const set = resolve(name, definitions.featureSets, at, 'feature set');
    checkServed(set, spine, sent, at);
    if (label.window === undefined) checkLabelDelay(set, label, definitions, at);
    else checkOneBoundary(set, { ...label, window: label.window }, definitions, at);
    return set;
  };

  const ruleSet = serve(model.rule.featureSet, `${path}.rule.featureSet`);
  checkType(model.rule.expression, typesOfFeatures(ruleSet, definitions), NUMBERS, `${path}.rule.expression`);

  checkDistinct(model.monitors.map(nameOf), `${path}.monitors`, 'monitor');
  checkDistinct(model.trainings.map(nameOf), `${path}.trainings`, 'training');
  const sets = model.trainings.map(({ name, featureSet, split }) => {
    const at = `${path}.trainings.${name}`;
    if (split.group !== undefined) resolve(split.group, sent, `${at}.split.group`, 'request field');
    return serve(featureSet, `${at}.featureSet`);
  });
  if (model.slices !== undefined) checkSlices(model.slices, [ruleSet, ...sets], `${path}.slices`);
  if (model.rollout.unit !== undefined) checkUnit(model.rollout.unit, [ruleSet, ...sets], `${path}.rollout.unit`);
  const sliceable = new Map([...sent.keys(), ...sets.flatMap(featureNames)].map((name) => [name, name]));
  for (const [index, gate] of model.gates.entries()) {
    if (gate.kind === 'slices')
      resolve(gate.slice, sliceable, `${path}.gates[${index}].slice`, 'request field or feature');
  }
}

/** A rule is computed over the columns of its set, as a model is: a request field that is no feature of it would be null. */
function typesOfFeatures(set: FeatureSetSpec, definitions: Definitions): Types {
  const names = new Set(featureNames(set));
  return new Map([...typesInSet(set, definitions)].filter(([name]) => names.has(name)));
}

/** Whoever answers, the field is in the request; its values are such that they have one text. */
function checkSlices({ by, thresholds }: SliceThresholds, sets: readonly FeatureSetSpec[], path: string): void {
  for (const set of sets) {
    const type = resolve(by, typesOf(set.request), `${path}.by`, `request field of ${versioned(set)}`);
    const isValue = SLICE_VALUES.get(type);
    if (isValue === undefined)
      throw specInvalid(`${path}.by`, by, `its type is ${type}; slices are by ${[...SLICE_VALUES.keys()].join(', ')}`);
    const wrong = Object.keys(thresholds).find((value) => !isValue.test(value));
    if (wrong !== undefined)
      throw specInvalid(`${path}.thresholds`, wrong, `no value of the field ${by}, which is ${type}, is written so`);
  }
}

/** Whoever is champion meanwhile, the field is in the request; its values tell units apart, and each has one text. */
function checkUnit(unit: string, sets: readonly FeatureSetSpec[], path: string): void {
  for (const set of sets) {
    const type = resolve(unit, typesOf(set.request), path, `request field of ${versioned(set)}`);
    if (type !== 'str' && type !== 'i64')
      throw specInvalid(path, unit, `its type is ${type}; a unit is named by a field of type str or i64`);
  }
}

/** How a value of a type is written, so that one value has one text. */
const SLICE_VALUES: ReadonlyMap<ColumnType, RegExp> = new Map([
  ['str', /^/],
  ['i64', /^(0|-?[1-9]\d{0,15})$/],
  ['bool', /^(true|false)$/],
]);

function typesOfRequest(spine: SpineSpec, { sources }: Definitions): Types {
  const columns = typesOf(resolve(spine.source, sources, `spines.${spine.name}.source`, 'source').columns);
  return new Map(
    spine.request.map(({ name, value }) => [
      name,
      checkType(value, columns, ANY_TYPE, `spines.${spine.name}.request.${name}`),
    ]),
  );
}

/** What a query must give: the fields that the model's sets ask for. Its columns are checked when it runs. */
function typesAskedFor(model: ModelSpec, { featureSets }: Definitions, path: string): Types {
  const sets = [model.rule.featureSet, ...model.trainings.map(({ featureSet }) => featureSet)];
  return new Map(
    sets.flatMap((name) => [...typesOf(resolve(name, featureSets, `${path}: feature sets`, 'feature set').request)]),
  );
}

/** A label that a model can be trained on: true or false, of the spine's own event or of events found by its request. */
function checkOutcome(label: LabelSpec, spine: SpineSpec, sent: Types, { sources }: Definitions, path: string): void {
  const { window } = label;
  if (window === undefined) {
    if (spine.sql !== undefined)
      throw specInvalid(path, label.name, 'rows of a query have no event of their own, so the label needs a window');
    if (label.source === spine.source) return;
    throw specInvalid(
      path,
      label.name,
      `without a window a label is the outcome of the spine's own event, so its source must be that of ${spine.name}: ${spine.source}; give it a window to look for later events of ${label.source}`,
    );
  }
  if (window.fn !== 'any')
    throw specInvalid(path, label.name, `a binary model needs a label that is true or false: fn any, not ${window.fn}`);
  checkJoin(window, label.source, `labels.${label.name}.window`);
  if (window.censor !== null) checkJoin(window.censor, window.censor.source, `labels.${label.name}.window.censor`);

  function checkJoin({ key, on }: Pick<LabelWindowSpec, 'key' | 'on'>, source: string, at: string): void {
    const columns = typesOf(resolve(source, sources, `${at}.source`, 'source').columns);
    for (const [index, field] of on.entries()) {
      const column = {
        name: key[index] ?? '',
        type: resolve(key[index] ?? '', columns, `${at}.key[${index}]`, 'column'),
      };
      const type = resolve(field, sent, `${at}.on[${index}]`, `request field in the spine ${spine.name}`);
      refuse(keyTypeMismatch(column, { name: field, type }), `${at}.on[${index}]`);
    }
  }
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
 * into the features of its own row. An exclusive view leaves that event out by itself. A second source with such a
 * declaration passes here: that is what the leakage gate looks for, on the rows.
 */
function checkLabelDelay(set: FeatureSetSpec, label: LabelSpec, { views, sources }: Definitions, path: string): void {
  const source = resolve(label.source, sources, `labels.${label.name}.source`, 'source');
  if (!assumesAvailability(source)) return;
  const reader = set.views.find((use) => {
    const view = views.get(use.view);
    return view?.source === source.name && view.boundary !== 'exclusive';
  });
  if (reader === undefined) return;
  throw specInvalid(
    path,
    versioned(set),
    `the source ${source.name} gives the label and the features of ${reader.alias} (${reader.view}), but is declared available at its event time, ${source.eventAt}; declare in its availableAt when an outcome is really known, or make the view exclusive`,
  );
}

/** The event at the instant of the prediction is on one side: in the features or in the label. */
function checkOneBoundary(
  set: FeatureSetSpec,
  label: LabelSpec & { readonly window: LabelWindowSpec },
  { views }: Definitions,
  path: string,
): void {
  for (const use of set.views) {
    const view = views.get(use.view);
    if (view === undefined) continue;
    refuse(
      boundaryMismatch(
        { name: use.view, source: view.source, boundary: view.boundary ?? 'inclusive' },
        { name: label.name, source: label.source, boundary: label.window.boundary },
      ),
      path,
    );
  }
}
