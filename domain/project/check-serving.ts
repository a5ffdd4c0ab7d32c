/** What a model's serving contract refers to: features of its own, and another model to fall back on. */
import { SerinError } from '../errors.ts';
import { specInvalid } from '../rollout/checked-fields.ts';
import { type Definitions, typesOf } from './definitions.ts';
import { checkDistinct, resolve } from './names.ts';
import { featureNames, type FeatureSetSpec, type ModelSpec, versioned } from './spec.ts';

/** @param models whose own references are checked already */
export function checkServing(models: readonly ModelSpec[], definitions: Definitions): void {
  const byName = new Map(models.map((model) => [model.name, model]));
  for (const model of models) {
    const { mandatory, fallback } = model.serving ?? {};
    const path = `models.${model.name}.serving`;
    if (mandatory !== undefined) checkMandatory(mandatory, model, definitions, `${path}.mandatory`);
    if (fallback === undefined) continue;
    if (fallback === model.name)
      throw specInvalid(`${path}.fallback`, fallback, 'a model cannot fall back on itself; name another one');
    const other = resolve(fallback, byName, `${path}.fallback`, 'model');
    checkFallsBackOn(other, model, definitions, `${path}.fallback`);
  }
  refuseCircles(byName);
}

/** A feature that no training reads would never be missed: most likely it is misspelt. */
function checkMandatory(names: readonly string[], model: ModelSpec, definitions: Definitions, path: string): void {
  checkDistinct(names, path, 'feature');
  const read = new Map(
    trainedSets(model, definitions)
      .flatMap(featureNames)
      .map((name) => [name, name]),
  );
  for (const [index, name] of names.entries())
    resolve(name, read, `${path}[${index}]`, `feature of a training of ${model.name}`);
}

/** Whoever may be asked for this model sends what any version of the other one wants. */
function checkFallsBackOn(other: ModelSpec, model: ModelSpec, definitions: Definitions, path: string): void {
  const wanted = [setOf(other.rule.featureSet, definitions), ...trainedSets(other, definitions)];
  for (const set of trainedSets(model, definitions)) {
    const sent = typesOf(set.request);
    for (const { request, ...rest } of wanted) {
      for (const { name, type } of request) {
        const given = resolve(
          name,
          sent,
          `${path}: a request field of ${other.name} (${versioned(rest)})`,
          `request field of ${versioned(set)}, which ${model.name} is trained on`,
        );
        if (given !== type && !(given === 'i64' && type === 'f64'))
          throw specInvalid(
            `${path}: request field ${name} of ${other.name} (${versioned(rest)})`,
            type,
            `${model.name} (${versioned(set)}) has it as ${given}`,
          );
      }
    }
  }
}

/** Two models that fall back on each other would both be gone when one fault takes both. */
function refuseCircles(models: ReadonlyMap<string, ModelSpec>): void {
  for (const start of models.keys()) {
    const way = [start];
    for (let at = models.get(start)?.serving?.fallback; at !== undefined; at = models.get(at)?.serving?.fallback) {
      const seen = way.indexOf(at);
      way.push(at);
      if (seen < 0) continue;
      const circle = way.slice(seen);
      throw new SerinError(
        'REFERENCE_CYCLE',
        `models fall back on each other: ${circle.join(' → ')}; the last one of a chain needs none, its rule always answers`,
        { fields: { cycle: circle } },
      );
    }
  }
}

function trainedSets(model: ModelSpec, definitions: Definitions): FeatureSetSpec[] {
  return model.trainings.map(({ featureSet }) => setOf(featureSet, definitions));
}

function setOf(name: string, { featureSets }: Definitions): FeatureSetSpec {
  const set = featureSets.get(name);
  if (set === undefined) throw new SerinError('REFERENCE_MISSING', `there is no feature set "${name}"`);
  return set;
}
