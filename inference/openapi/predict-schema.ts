import type { ColumnType } from '../../domain/project/expression.ts';
import type { RequestField } from '../../domain/project/spec.ts';
import { MAX_INSTANCES } from '../http/predict-request.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import { JSON_SCHEMA, type JsonSchema, type ModelSchema } from './model-schema.ts';
import { PredictResponse } from './product-schemas.ts';

const TYPES: Readonly<Record<ColumnType, JsonSchema>> = {
  i64: { type: ['integer', 'null'], minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER },
  f64: { type: ['number', 'null'] },
  bool: { type: ['boolean', 'null'] },
  str: { type: ['string', 'null'] },
  ts: { type: ['string', 'null'], format: 'date-time' },
};

const EXAMPLES: Readonly<Record<ColumnType, unknown>> = {
  i64: 1,
  f64: 0.5,
  bool: true,
  str: 'example',
  ts: '2001-06-01T12:00:00Z',
};

const known = new WeakMap<RouteEntry, ModelSchema>();

/** What the predict route takes and gives for the model of a route; made once for each route. */
export function predictSchema(entry: RouteEntry): ModelSchema {
  let schema = known.get(entry);
  if (schema === undefined) known.set(entry, (schema = make(entry)));
  return schema;
}

function make({ route, champion, loaded }: RouteEntry): ModelSchema {
  const { request: fields } = champion.input;
  const names = new Set(fields.map(({ name }) => name));
  // what the shadow or the canary reads besides may be sent, and is asked of nobody
  const others = loaded.flatMap(({ input }) => input.request).filter(({ name }) => !names.has(name) && names.add(name));
  const example = Object.fromEntries(fields.map(({ name, type }) => [name, EXAMPLES[type]]));
  const instance: JsonSchema = {
    type: 'object',
    required: fields.map(({ name }) => name),
    properties: {
      id: {
        type: 'string',
        minLength: 1,
        maxLength: 256,
        description: 'Of the prediction; a new one when left out. Outcomes refer to it.',
      },
      unit: {
        type: 'string',
        minLength: 1,
        maxLength: 256,
        description: `What the assignment to an arm sticks to; ${route.unit === null ? '' : `the value of ${route.unit}, or `}the id when left out.`,
      },
      asOf: {
        type: 'string',
        format: 'date-time',
        description: 'The instant the features are as of; now when left out.',
      },
      ...Object.fromEntries([...fields, ...others].map((field) => [field.name, fieldSchema(field)])),
    },
    additionalProperties: false,
  };
  return {
    model: route.model,
    version: String(champion.version),
    request: {
      $schema: JSON_SCHEMA,
      title: `${route.model}, as POST /v1/models/${route.model}/predict takes it`,
      description: `The request fields of ${champion.featureSet}. A field is required; null says that its value is not known.`,
      anyOf: [
        { $ref: '#/$defs/instance' },
        {
          type: 'object',
          required: ['instances'],
          properties: {
            instances: {
              type: 'array',
              minItems: 1,
              maxItems: MAX_INSTANCES,
              items: { $ref: '#/$defs/instance' },
            },
          },
          additionalProperties: false,
        },
      ],
      $defs: { instance },
      examples: [example, { instances: [example] }],
    },
    response: { $schema: JSON_SCHEMA, title: `The answer of ${route.model}`, ...PredictResponse },
    example,
  };
}

function fieldSchema({ name, type, description, pii }: RequestField): JsonSchema {
  const remarks = [description, ...(pii === true ? ['Personal: never logged as it is.'] : [])].filter(Boolean);
  return { ...TYPES[type], title: name, ...(remarks.length > 0 && { description: remarks.join(' ') }) };
}
