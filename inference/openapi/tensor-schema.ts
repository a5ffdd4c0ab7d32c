import { EXTENSIONS } from '../oip/describe.ts';
import type { Datatype } from '../oip/datatypes.ts';
import type { TensorMetadata, TensorModel } from '../oip/model.ts';
import { JSON_SCHEMA, type JsonSchema, type ModelSchema } from './model-schema.ts';

/** What one element of a tensor is in JSON. 64-bit integers beyond 2^53 are texts. */
const ELEMENTS: Readonly<Record<Datatype, JsonSchema>> = {
  BOOL: { enum: [true, false, 0, 1] },
  UINT8: { type: 'integer', minimum: 0, maximum: 2 ** 8 - 1 },
  UINT16: { type: 'integer', minimum: 0, maximum: 2 ** 16 - 1 },
  UINT32: { type: 'integer', minimum: 0, maximum: 2 ** 32 - 1 },
  UINT64: { anyOf: [{ type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER }, digits('^\\d{1,20}$')] },
  INT8: { type: 'integer', minimum: -(2 ** 7), maximum: 2 ** 7 - 1 },
  INT16: { type: 'integer', minimum: -(2 ** 15), maximum: 2 ** 15 - 1 },
  INT32: { type: 'integer', minimum: -(2 ** 31), maximum: 2 ** 31 - 1 },
  INT64: {
    anyOf: [
      { type: 'integer', minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER },
      digits('^-?\\d{1,20}$'),
    ],
  },
  FP16: { type: ['number', 'null'] },
  FP32: { type: ['number', 'null'] },
  FP64: { type: ['number', 'null'] },
  BYTES: { type: 'string' },
};

const ZEROS: Partial<Record<Datatype, unknown>> = { BOOL: false, BYTES: '' };
/** A size that the model leaves open, in examples. */
const OPEN_SIZE = 1;

function digits(pattern: string): JsonSchema {
  return { type: 'string', pattern };
}

/** What one model takes and gives over the Open Inference Protocol, as JSON. */
export function tensorSchema(model: TensorModel): ModelSchema {
  const { name, version, inputs, outputs } = model;
  const parameters = { type: 'object', additionalProperties: { type: ['string', 'number', 'boolean'] } };
  return {
    model: name,
    version,
    request: {
      $schema: JSON_SCHEMA,
      title: `${name}, as POST /v2/models/${name}/infer takes it`,
      description: `Data may also follow as bytes (${EXTENSIONS[0]}). A null is NaN where the input's parameter null_is_nan is true.`,
      type: 'object',
      required: ['inputs'],
      properties: {
        id: { type: 'string', description: 'Comes back in the answer.' },
        parameters,
        inputs: {
          type: 'array',
          description: 'Each input once, in any order.',
          minItems: inputs.length,
          maxItems: inputs.length,
          items: inputs.length === 1 ? inputSchema(inputs[0]!) : { oneOf: inputs.map(inputSchema) },
        },
        outputs: {
          type: 'array',
          description: 'Which outputs, in which order; left out, all of them.',
          items: {
            type: 'object',
            required: ['name'],
            properties: { name: { enum: outputs.map((output) => output.name) }, parameters },
          },
        },
      },
      examples: [tensorExample(model)],
    },
    response: {
      $schema: JSON_SCHEMA,
      title: `The answer of ${name}`,
      type: 'object',
      required: ['model_name', 'model_version', 'outputs'],
      properties: {
        model_name: { const: name },
        model_version: { type: 'string' },
        id: { type: 'string' },
        outputs: { type: 'array', minItems: 1, items: { oneOf: outputs.map(outputSchema) } },
      },
    },
    example: tensorExample(model),
  };
}

function inputSchema(input: TensorMetadata): JsonSchema {
  const parameters = {
    type: 'object',
    properties: { null_is_nan: { type: 'boolean' }, binary_data_size: { type: 'integer', minimum: 0 } },
  };
  return { ...tensor(input, 1), properties: { ...members(input, 1), parameters } };
}

function outputSchema(output: TensorMetadata): JsonSchema {
  return { ...tensor(output, 0), properties: members(output, 0) };
}

function tensor(metadata: TensorMetadata, smallest: number): JsonSchema {
  return { type: 'object', required: ['name', 'datatype', 'shape'], properties: members(metadata, smallest) };
}

/** @param smallest a size that the model leaves open may have: no request has no rows, but an answer may */
function members({ name, datatype, shape }: TensorMetadata, smallest: number): Record<string, JsonSchema> {
  return {
    name: { const: name },
    datatype: { const: datatype },
    shape: {
      type: 'array',
      minItems: shape.length,
      maxItems: shape.length,
      ...(shape.length > 0 && {
        prefixItems: shape.map((size) => (size === -1 ? { type: 'integer', minimum: smallest } : { const: size })),
      }),
    },
    data: {
      type: 'array',
      description: 'Flat in row-major order, or nested as the shape says.',
      items: { anyOf: [ELEMENTS[datatype], { type: 'array' }] },
    },
  };
}

/** A request that is answered: zeros, in the smallest shape. */
export function tensorExample({ inputs }: TensorModel): Readonly<Record<string, unknown>> {
  return {
    id: 'example',
    inputs: inputs.map(({ name, datatype, shape }) => {
      const sizes = shape.map((size) => (size === -1 ? OPEN_SIZE : size));
      const elements = sizes.reduce((product, size) => product * size, 1);
      return { name, datatype, shape: sizes, data: new Array<unknown>(elements).fill(ZEROS[datatype] ?? 0) };
    }),
  };
}
