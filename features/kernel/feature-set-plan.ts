/**
 * A feature set, compiled: which views are asked with which key, where each value lands in the model's input, and the
 * derived features. Offline and online both assemble their vectors through this plan.
 */
import { SerinError } from '../../domain/errors.ts';
import {
  columnsOf,
  compileExpression,
  type Row,
  type RowFunction,
  type Value,
} from '../../domain/project/expression.ts';
import type { FeatureSetSpec, FeatureSpec, ProjectSpec, RequestField } from '../../domain/project/spec.ts';
import { versioned } from '../../domain/project/spec.ts';
import type { Micros } from '../../domain/time.ts';
import { type CompiledView, compileViewOf } from './compiled-view.ts';

export interface ViewUsePlan {
  readonly alias: string;
  /** Position in `FeatureSetPlan.views`. */
  readonly view: number;
  /** Request fields that hold the key, in the order of the entity's parts. */
  readonly key: readonly string[];
  /** Output `outputs[i]` of the view is feature `features[i]` of the set. */
  readonly outputs: Uint16Array;
  readonly features: Uint16Array;
}

export interface FeatureSetPlan {
  /** `name@version` */
  readonly id: string;
  readonly request: readonly RequestField[];
  readonly featureNames: readonly string[];
  /** Each view once, however many aliases use it. */
  readonly views: readonly CompiledView[];
  readonly uses: readonly ViewUsePlan[];
  /** Request fields that derived features read. */
  readonly derivedInputs: readonly string[];
  readonly hasDerived: boolean;
  /**
   * Fills in the derived features, in an order in which each finds what it reads.
   * @param request  request fields (at least `derivedInputs`)
   * @param vector   `featureNames.length` numbers from `offset` on, the view features already there; NaN is null
   */
  derive(request: Row, asOf: Micros, vector: Float64Array, offset: number): void;
  /** The same over values as they are. @param values the view features by name  @returns the derived features */
  deriveRow(
    request: Row,
    asOf: Micros,
    values: Readonly<Record<string, unknown>>,
  ): (readonly [name: string, value: Value])[];
}

/** @throws REFERENCE_MISSING for a feature set, view, source, entity, alias or output that does not exist; REFERENCE_CYCLE for derived features that need each other. */
export function compileFeatureSet(project: ProjectSpec, featureSet: string): FeatureSetPlan {
  const set = named(project.featureSets, featureSet, 'feature set', versioned);
  const featureNames = set.features.map((feature) => feature.name);
  const viewIds = [...new Set(set.views.map((use) => use.view))];
  const views = viewIds.map((id) => compileViewOf(project, id));
  const uses = set.views.map((use) => {
    const view = viewIds.indexOf(use.view);
    const picked = set.features.flatMap((feature, index) =>
      feature.kind === 'view' && feature.alias === use.alias
        ? [{ index, output: outputOf(views[view]!, set, feature) }]
        : [],
    );
    return {
      alias: use.alias,
      view,
      key: use.key,
      outputs: Uint16Array.from(picked, ({ output }) => output),
      features: Uint16Array.from(picked, ({ index }) => index),
    };
  });
  for (const feature of set.features) {
    if (feature.kind === 'view' && !set.views.some((use) => use.alias === feature.alias)) {
      throw missing(
        `the feature "${feature.name}" of ${featureSet} reads the alias "${feature.alias}"`,
        set.views.map((use) => use.alias),
      );
    }
  }
  const derived = derivedInOrder(set);
  const requestFields = new Set(set.request.map((field) => field.name));
  const read = new Set(derived.flatMap(({ reads }) => [...reads]));
  // only what some derived feature reads is put into its row
  const rowFeatures = featureNames.flatMap((name, index) =>
    read.has(name)
      ? [{ name, index, isBool: typeOfFeature(set.features[index]!, set, views, viewIds) === 'bool' }]
      : [],
  );
  return {
    id: featureSet,
    request: set.request,
    featureNames,
    views,
    uses,
    derivedInputs: [...read].filter((name) => requestFields.has(name)),
    hasDerived: derived.length > 0,
    derive(request, asOf, vector, offset) {
      if (derived.length === 0) return;
      const row: Record<string, Value> = { ...request, as_of: asOf };
      for (let i = 0; i < rowFeatures.length; i++) {
        const { name, index, isBool } = rowFeatures[i]!;
        const value = vector[offset + index]!;
        row[name] = Number.isNaN(value) ? null : isBool ? value !== 0 : value;
      }
      for (let i = 0; i < derived.length; i++) {
        const { name, index, evaluate } = derived[i]!;
        const value = evaluate(row);
        const number = numberOf(value);
        vector[offset + index] = number;
        // others read what a vector can say: a truth value stays one, what is not finite is null
        if (read.has(name)) row[name] = Number.isNaN(number) ? null : value;
      }
    },
    deriveRow(request, asOf, values) {
      if (derived.length === 0) return [];
      const row: Record<string, Value> = { ...request, ...(values as Row), as_of: asOf };
      return derived.map(({ name, evaluate }) => {
        const value = evaluate(row);
        row[name] = value;
        return [name, value] as const;
      });
    },
  };
}

/** Derived features of others are numbers in a vector already. */
function typeOfFeature(
  feature: FeatureSpec,
  set: FeatureSetSpec,
  views: readonly CompiledView[],
  viewIds: readonly string[],
): unknown {
  if (feature.kind === 'derived') return null;
  const view = views[viewIds.indexOf(set.views.find(({ alias }) => alias === feature.alias)?.view ?? '')];
  if (view?.kind !== 'history') return null;
  return view.plan.outputs.find((each) => each.feature === feature.feature && each.window === feature.window)?.type;
}

interface DerivedPlan {
  readonly name: string;
  readonly index: number;
  readonly reads: ReadonlySet<string>;
  readonly evaluate: RowFunction;
}

function derivedInOrder(set: FeatureSetSpec): DerivedPlan[] {
  const waiting = new Map<string, DerivedPlan>();
  set.features.forEach((feature, index) => {
    if (feature.kind !== 'derived') return;
    const { name, expression } = feature;
    waiting.set(name, { name, index, reads: columnsOf(expression), evaluate: compileExpression(expression) });
  });
  const ordered: DerivedPlan[] = [];
  while (waiting.size > 0) {
    const ready = [...waiting.values()].find(({ reads }) => [...reads].every((name) => !waiting.has(name)));
    if (!ready) {
      throw new SerinError(
        'REFERENCE_CYCLE',
        `derived features of ${versioned(set)} need each other: ${[...waiting.keys()].join(', ')}`,
      );
    }
    ordered.push(ready);
    waiting.delete(ready.name);
  }
  return ordered;
}

function outputOf(
  { plan }: CompiledView,
  set: FeatureSetSpec,
  { name, feature, window }: Extract<FeatureSpec, { kind: 'view' }>,
): number {
  const outputs: readonly { readonly feature: string; readonly window: string | null }[] = plan.outputs;
  const output = outputs.findIndex((each) => each.feature === feature && each.window === window);
  if (output >= 0) return output;
  const over = (name: string | null): string => (name === null ? '' : ` over ${name}`);
  throw missing(
    `the feature "${name}" of ${versioned(set)} reads ${feature}${over(window)} of ${plan.id}`,
    outputs.map((each) => `${each.feature}${over(each.window)}`),
  );
}

/** Truth values are 1 and 0; what is null or not finite is NaN, the null of vectors. */
function numberOf(value: Value): number {
  if (typeof value === 'boolean') return value ? 1 : 0;
  return typeof value === 'number' && Number.isFinite(value) ? value : NaN;
}

function named<T>(all: readonly T[], name: string, what: string, nameOf: (item: T) => string): T {
  const found = all.find((item) => nameOf(item) === name);
  if (found) return found;
  throw missing(`the ${what} "${name}" is used`, all.map(nameOf));
}

function missing(use: string, existing: readonly string[]): SerinError {
  return new SerinError(
    'REFERENCE_MISSING',
    `${use}, which does not exist; there are ${existing.join(', ') || 'none'}`,
  );
}
