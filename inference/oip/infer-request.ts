/**
 * An infer request of the Open Inference Protocol v2, as JSON or as JSON with binary tensor data behind it, checked against
 * the model it is for. Whatever a client does wrong is a refusal that names the tensor and the rule.
 */
import { isUtf8 } from 'node:buffer';
import { SerinError } from '../../domain/errors.ts';
import { shownValue } from '../../domain/shown-value.ts';
import {
  bytesPerElement,
  type Datatype,
  isDatatype,
  type JsonReading,
  readBinaryData,
  readJsonData,
  type TensorData,
  textOf,
} from './datatypes.ts';
import { type Priority, priorityOfLevel } from '../admission/priority.ts';
import { refusal } from './describe.ts';
import { refuseCostlyJson } from './json-bounds.ts';
import type { Tensor, TensorMetadata, TensorModel } from './model.ts';

export interface InferRequest {
  readonly id: string | undefined;
  readonly rows: number;
  readonly inputs: readonly Tensor[];
  /** Positions in the model's outputs, in the order they were asked for. */
  readonly outputs: readonly number[];
  /** One per `outputs`: whether its data goes behind the JSON. */
  readonly binary: readonly boolean[];
  /** How long the answer may take (`timeout`, in microseconds, of the schedule policy extension); Infinity: no bound. */
  readonly timeoutMs: number;
  /** `priority` of the schedule policy extension; null: not said. */
  readonly priority: Priority | null;
}

type Members = Readonly<Record<string, unknown>>;

/** Elements of one tensor; a request may not make the server allocate without bound by a few bytes of shape. */
const MAX_ELEMENTS = 1 << 26;

/**
 * @param body          the whole body, decompressed
 * @param headerLength  of `Inference-Header-Content-Length`: bytes of JSON before the binary data; undefined: all of it.
 *   0: the body is the data of the model's only input
 * @throws SerinError INPUT_INVALID
 */
export function readInferRequest(body: Buffer, headerLength: number | undefined, model: TensorModel): InferRequest {
  if (headerLength === 0) return rawRequest(body, model);
  if (headerLength !== undefined && headerLength > body.length) {
    throw refusal(`Inference-Header-Content-Length is ${headerLength}, but the body has ${body.length} bytes`);
  }
  const head = headerLength === undefined ? body : body.subarray(0, headerLength);
  const request = parseJson(head);
  if (!isObject(request)) throw refusal('the request must be a JSON object');
  const { id, inputs, outputs, parameters } = request;
  if (id !== undefined && typeof id !== 'string') throw refusal('"id" must be a string');
  if (!Array.isArray(inputs)) throw refusal('"inputs" must be a list of tensors');
  const given = readParameters(parameters, 'the request');
  const binaryData = headerLength === undefined ? null : new BinaryData(body.subarray(headerLength));
  const tensors = readInputs(inputs, model, binaryData);
  binaryData?.mustBeUsedUp();
  const asked = readOutputs(outputs, model, flagOf(given, 'binary_data_output', 'the request') === true);
  return {
    id,
    rows: rowsOf(model, tensors),
    inputs: tensors,
    outputs: asked.outputs,
    binary: asked.binary,
    timeoutMs: timeoutOf(given['timeout']),
    priority: given['priority'] === undefined ? null : priorityOfLevel(given['priority']),
  };
}

/** Bytes behind the JSON, taken in the order of the inputs. */
class BinaryData {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  take(size: number, name: string): Buffer {
    const end = this.#at + size;
    if (end > this.#bytes.length) {
      throw refusal(
        `input '${name}' has a binary_data_size of ${size}, but only ${this.#bytes.length - this.#at} bytes of binary data are left`,
      );
    }
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  mustBeUsedUp(): void {
    const left = this.#bytes.length - this.#at;
    if (left > 0) throw refusal(`${left} bytes of binary data belong to no input`);
  }
}

/** An input as a protocol brought it, before it is known to fit. */
export interface GivenInput {
  readonly name: unknown;
  readonly datatype: unknown;
  readonly shape: unknown;
  /** Reads the elements once type and shape are known to be right. */
  data(datatype: Datatype, shape: readonly number[], elements: number): TensorData;
}

/**
 * The inputs of a request in the model's order. `data` is called in the order they were given, since binary data lies so.
 * @throws SerinError INPUT_INVALID
 */
export function matchInputs(given: readonly GivenInput[], model: TensorModel): Tensor[] {
  if (given.length !== model.inputs.length) {
    throw refusal(
      `expected ${model.inputs.length} inputs but got ${given.length} inputs for model '${model.name}', which takes ${namesOf(model.inputs)}: ${shownValue(given.map(({ name }) => name))}`,
    );
  }
  const tensors = new Array<Tensor | undefined>(model.inputs.length);
  for (const input of given) {
    const at = model.inputs.findIndex((each) => each.name === input.name);
    if (at < 0) {
      throw refusal(
        `unexpected inference input ${shownValue(input.name)} for model '${model.name}', which takes ${namesOf(model.inputs)}`,
      );
    }
    const expected = model.inputs[at]!;
    if (tensors[at] !== undefined) throw refusal(`input '${expected.name}' is given twice`);
    checkDatatype(input.datatype, expected, model.name);
    const elements = checkShape(input.shape, expected, model.name);
    const shape = input.shape as number[];
    tensors[at] = { datatype: expected.datatype, shape, data: input.data(expected.datatype, shape, elements) };
  }
  return tensors as Tensor[];
}

function namesOf(tensors: readonly TensorMetadata[]): string {
  return tensors.map(({ name }) => `'${name}'`).join(', ');
}

function checkDatatype(datatype: unknown, expected: TensorMetadata, model: string): void {
  if (!isDatatype(datatype)) {
    throw refusal(`input '${expected.name}' has datatype ${shownValue(datatype)}, expected ${expected.datatype}`);
  }
  if (datatype !== expected.datatype) {
    throw refusal(
      `inference input '${expected.name}' data-type is '${datatype}', but model '${model}' expects '${expected.datatype}'`,
    );
  }
}

function readInputs(inputs: readonly unknown[], model: TensorModel, binaryData: BinaryData | null): Tensor[] {
  const given = inputs.map((input): GivenInput => {
    if (!isObject(input)) throw refusal('an input must be an object');
    const { name, datatype, shape } = input;
    return {
      name,
      datatype,
      shape,
      data: (type, sizes, elements) =>
        readData(input, { name: name as string, datatype: type, shape: sizes, elements }, binaryData),
    };
  });
  return matchInputs(given, model);
}

function readData(
  { data, parameters }: Members,
  reading: Omit<JsonReading, 'nullIsNaN'>,
  binaryData: BinaryData | null,
): TensorData {
  const { name } = reading;
  const whose = `input '${name}'`;
  const given = readParameters(parameters, whose);
  const size = given['binary_data_size'];
  if (size === undefined) {
    const { datatype, shape, elements } = reading;
    // written out: copying an object by its members costs as much as reading ten numbers
    const nullIsNaN = flagOf(given, 'null_is_nan', whose) === true;
    return readJsonData(data, { name, datatype, shape, elements, nullIsNaN });
  }
  if (!Number.isSafeInteger(size) || (size as number) < 0)
    throw refusal(`input '${name}' has a binary_data_size of ${shownValue(size)}, expected a number of bytes`);
  if (binaryData === null) {
    throw refusal(`input '${name}' has binary data, but the request has no Inference-Header-Content-Length`);
  }
  if (data !== undefined) throw refusal(`input '${name}' has both "data" and binary data`);
  return readBinaryData(binaryData.take(size as number, name), reading.datatype, reading.elements, name);
}

/** @returns the number of elements */
function checkShape(shape: unknown, { name, shape: expected }: TensorMetadata, model: string): number {
  if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size) && (size as number) >= 0)) {
    throw refusal(`input '${name}' must have a shape of non-negative integers, not ${shownValue(shape)}`);
  }
  const sizes = shape as number[];
  if (sizes.length !== expected.length || sizes.some((size, i) => expected[i] !== -1 && expected[i] !== size)) {
    throw refusal(
      `unexpected shape for input '${name}' for model '${model}': expected [${expected.join(',')}], got ${shownValue(sizes)}`,
    );
  }
  const elements = sizes.reduce((product, size) => product * size, 1);
  if (elements === 0) throw refusal(`input '${name}' has no rows: its shape is [${sizes.join(',')}]`);
  if (elements > MAX_ELEMENTS)
    throw refusal(`input '${name}' has ${elements} elements, at most ${MAX_ELEMENTS} are taken at once`);
  return elements;
}

/** Inputs of one batch must agree on how many rows it has. */
export function rowsOf(model: TensorModel, inputs: readonly Tensor[]): number {
  if (!model.batched) return 1;
  const rows = inputs[0]?.shape[0] ?? 1;
  const other = inputs.findIndex(({ shape }) => shape[0] !== rows);
  if (other > 0) {
    throw refusal(
      `input '${model.inputs[other]!.name}' has ${inputs[other]!.shape[0]} rows, input '${model.inputs[0]!.name}' has ${rows}`,
    );
  }
  return rows;
}

function readOutputs(
  outputs: unknown,
  model: TensorModel,
  binaryByDefault: boolean,
): Pick<InferRequest, 'outputs' | 'binary'> {
  if (outputs === undefined || (Array.isArray(outputs) && outputs.length === 0)) {
    return {
      outputs: model.outputs.map((_, i) => i),
      binary: model.outputs.map(() => binaryByDefault),
    };
  }
  if (!Array.isArray(outputs)) throw refusal('"outputs" must be a list');
  const positions: number[] = [];
  const binary: boolean[] = [];
  for (const output of outputs) {
    if (!isObject(output)) throw refusal('an output must be an object');
    const at = outputPosition(output['name'], model, positions);
    const whose = `output '${model.outputs[at]!.name}'`;
    const given = readParameters(output['parameters'], whose);
    if (given['classification'] !== undefined && given['classification'] !== 0)
      throw noClassification(model.outputs[at]!.name);
    positions.push(at);
    binary.push(flagOf(given, 'binary_data', whose) ?? binaryByDefault);
  }
  return { outputs: positions, binary };
}

/** @param before  positions asked for already */
export function outputPosition(name: unknown, model: TensorModel, before: readonly number[]): number {
  const at = model.outputs.findIndex((each) => each.name === name);
  if (at < 0) {
    throw refusal(
      `unexpected inference output ${shownValue(name)} for model '${model.name}', which gives ${namesOf(model.outputs)}`,
    );
  }
  if (before.includes(at)) throw refusal(`output '${model.outputs[at]!.name}' is asked for twice`);
  return at;
}

export function noClassification(output: string): SerinError {
  return refusal(`output '${output}' asks for the classification extension, which is not offered`);
}

/** A request without JSON: all of the body is the only input; the one size that may vary follows from the bytes. */
function rawRequest(body: Buffer, model: TensorModel): InferRequest {
  const [input] = model.inputs;
  if (input === undefined || model.inputs.length > 1)
    throw refusal(`model '${model.name}' has ${model.inputs.length} inputs: raw bytes are taken for exactly one`);
  const shape = rawShape(body, input, model.name);
  const elements = shape.reduce((product, size) => product * size, 1);
  // one text needs no length in front of it: it is all there is
  const data =
    input.datatype === 'BYTES'
      ? [textOf(body, input.name, 0)]
      : readBinaryData(body, input.datatype, elements, input.name);
  const tensor = { datatype: input.datatype, shape, data };
  return {
    id: undefined,
    rows: model.batched ? shape[0]! : 1,
    inputs: [tensor],
    outputs: model.outputs.map((_, i) => i),
    binary: model.outputs.map(() => true),
    timeoutMs: Infinity,
    priority: null,
  };
}

function rawShape(body: Buffer, { name, datatype, shape }: TensorMetadata, model: string): number[] {
  const width = bytesPerElement(datatype);
  const free = shape.filter((size) => size === -1).length;
  if (width === 0) {
    if (shape.some((size) => size !== 1 && size !== -1))
      throw refusal(`input '${name}' of model '${model}' cannot be sent raw`);
    return shape.map(() => 1);
  }
  const fixed = shape.reduce((product, size) => (size === -1 ? product : product * size), width);
  if (free > 1 || body.length === 0 || body.length % fixed !== 0 || (free === 0 && body.length !== fixed)) {
    throw refusal(
      `the body has ${body.length} bytes, which is no input '${name}' of model '${model}' (${datatype} [${shape.join(',')}])`,
    );
  }
  return shape.map((size) => (size === -1 ? body.length / fixed : size));
}

/** Parameters are strings, numbers and booleans by name. */
function readParameters(parameters: unknown, whose: string): Members {
  if (parameters === undefined) return NO_PARAMETERS;
  if (!isObject(parameters)) throw refusal(`"parameters" of ${whose} must be an object`);
  for (const [name, value] of Object.entries(parameters)) {
    if (!['string', 'number', 'boolean'].includes(typeof value))
      throw refusal(`parameter ${shownValue(name)} of ${whose} must be a string, a number or a boolean`);
  }
  refuseSharedMemory(parameters, whose);
  return parameters;
}

/** Tensors that lie, or are to be put, where only a client on the same machine looks: ignored, it would find nothing there. */
export function refuseSharedMemory(parameters: Members, whose: string): void {
  if (Object.hasOwn(parameters, 'shared_memory_region'))
    throw refusal(`${whose} asks for the shared memory extension, which is not offered`);
}

/** A parameter that is true or false, or absent. */
function flagOf(parameters: Members, name: string, whose: string): boolean | undefined {
  const flag = parameters[name];
  if (flag === undefined || typeof flag === 'boolean') return flag;
  throw refusal(`the parameter "${name}" of ${whose} is ${shownValue(flag)}, expected true or false`);
}

const NO_PARAMETERS: Members = {};

/** @param timeout microseconds; 0 or undefined: no bound @returns milliseconds */
export function timeoutOf(timeout: unknown): number {
  if (timeout === undefined || timeout === 0) return Infinity;
  if (Number.isSafeInteger(timeout) && (timeout as number) > 0) return (timeout as number) / 1_000;
  throw refusal(`the parameter "timeout" is ${shownValue(timeout)}, expected microseconds`);
}

export function parseJson(bytes: Buffer): unknown {
  // decoded with replacement characters, two different ids or keys could become one
  if (!isUtf8(bytes)) throw refusal('the body is no UTF-8');
  refuseCostlyJson(bytes);
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new SerinError('INPUT_INVALID', `the body is no JSON: ${(error as Error).message}`, { cause: error });
  }
}

export function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `FP32` as the configuration extension writes it. */
export function configType(datatype: Datatype): string {
  return datatype === 'BYTES' ? 'TYPE_STRING' : `TYPE_${datatype}`;
}
