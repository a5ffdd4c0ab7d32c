/**
 * What a feature set says to the outside: the columns of its vector with their types, JSON Schemas of a request and of a row,
 * and the signature of a model file. Derived here alone; training, serving, the gates and the API ask this module.
 */
import type { ColumnType, Row, Value } from './expression.ts';
import { definitionsOf } from './definitions.ts';
import { typesInSet } from './check-feature-set.ts';
import { resolve } from './names.ts';
import { isNeverNull } from './output-type.ts';
import { type AggregateSpec, type FeatureSetSpec, type FeatureSpec, type ProjectSpec, versioned } from './spec.ts';

/** One column of a feature vector. */
export interface FeatureField {
  readonly name: string;
  readonly type: ColumnType;
  /** Whether the vector may hold null (NaN) here. */
  readonly nullable: boolean;
  readonly default: AggregateSpec['default'];
  readonly description: string;
}

/** @throws SerinError REFERENCE_MISSING for a set that the project does not have */
export function featureFields(spec: ProjectSpec, featureSet: string): FeatureField[] {
  const definitions = definitionsOf(spec);
  const set = resolve(featureSet, definitions.featureSets, `project ${spec.name}`, 'feature set');
  const types = typesInSet(set, definitions);
  return set.features.map((feature): FeatureField => {
    const aggregate = aggregateOf(spec, set, feature);
    return {
      name: feature.name,
      type: types.get(feature.name) ?? 'f64',
      nullable: aggregate === undefined || !isNeverNull(aggregate),
      default: aggregate?.default ?? null,
      description: feature.kind === 'derived' ? feature.description : (aggregate?.description ?? ''),
    };
  });
}

/** What a view feature of a set is in its view; undefined for a derived one. */
export function aggregateOf(spec: ProjectSpec, set: FeatureSetSpec, feature: FeatureSpec): AggregateSpec | undefined {
  if (feature.kind === 'derived') return undefined;
  const use = set.views.find(({ alias }) => alias === feature.alias);
  const view = spec.views.find((each) => versioned(each) === use?.view);
  return view?.features.find(({ name }) => name === feature.feature);
}

/**
 * Reads the numbers of a vector back as the values that expressions are written over: NaN is null, and a truth value is true
 * where it is not 0. The row is reused.
 */
export function rowReader(
  fields: readonly Pick<FeatureField, 'name' | 'type'>[],
): (vector: ArrayLike<number>, offset: number) => Row {
  const row: Record<string, Value> = {};
  return (vector, offset) => {
    for (let i = 0; i < fields.length; i++) {
      const { name, type } = fields[i]!;
      const number = vector[offset + i]!;
      row[name] = Number.isNaN(number) ? null : type === 'bool' ? number !== 0 : number;
    }
    return row;
  };
}

export interface JsonSchema {
  readonly $schema?: string;
  readonly title?: string;
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly format?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean;
}

const DIALECT = 'https://json-schema.org/draft/2020-12/schema';

/** An instance of a prediction request: every field must be there, and may be null; times are RFC 3339 text. */
export function requestSchema(set: FeatureSetSpec): JsonSchema {
  return {
    $schema: DIALECT,
    title: `request of ${versioned(set)}`,
    description: set.description,
    type: 'object',
    properties: Object.fromEntries(
      set.request.map(({ name, type, description }) => [name, { ...jsonType(type, true), ...described(description) }]),
    ),
    required: set.request.map(({ name }) => name),
    additionalProperties: false,
  };
}

/** One row of features by name. */
export function rowSchema(featureSet: string, fields: readonly FeatureField[]): JsonSchema {
  return {
    $schema: DIALECT,
    title: `row of ${featureSet}`,
    type: 'object',
    properties: Object.fromEntries(
      fields.map(({ name, type, nullable, default: otherwise, description }) => [
        name,
        { ...jsonType(type, nullable), ...described(description), ...(otherwise !== null && { default: otherwise }) },
      ]),
    ),
    required: fields.map(({ name }) => name),
    additionalProperties: false,
  };
}

function described(description: string): JsonSchema {
  return description === '' ? {} : { description };
}

const JSON_TYPES: Readonly<Record<ColumnType, JsonSchema & { readonly type: string }>> = {
  i64: { type: 'integer' },
  f64: { type: 'number' },
  bool: { type: 'boolean' },
  str: { type: 'string' },
  ts: { type: 'string', format: 'date-time' },
};

function jsonType(type: ColumnType, nullable: boolean): JsonSchema {
  const plain = JSON_TYPES[type];
  return nullable ? { ...plain, type: [plain.type, 'null'] } : plain;
}

export const INPUT_NAME = 'features';
export const OUTPUT_NAME = 'score';

/** A tensor of a model file; a null dimension is any number of rows. */
export interface TensorSignature {
  readonly name: string;
  readonly type: 'float32';
  readonly shape: readonly (number | null)[];
}

/** What a model file that Serin trained takes and gives. */
export interface ModelSignature {
  /** One column per feature, in the order of the set; NaN is null, true is 1, an instant is its microseconds. */
  readonly input: TensorSignature;
  /** The probability of class 1. */
  readonly output: TensorSignature;
}

export function modelSignature(featureCount: number): ModelSignature {
  return {
    input: { name: INPUT_NAME, type: 'float32', shape: [null, featureCount] },
    output: { name: OUTPUT_NAME, type: 'float32', shape: [null, 1] },
  };
}
