/**
 * Tensors of the Open Inference Protocol v2 as JSON (github.com/kserve/open-inference-protocol, specification/protocol).
 * `data` may be flat or nested to the shape, row-major. JSON has no NaN: a missing
 * value of a floating-point tensor travels as null, both ways.
 */
import { SerinError } from '../../domain/errors.ts';

/** Datatypes a numeric input may come in; a model's own input type is what it is converted to. */
const NUMERIC = ['FP32', 'FP64', 'INT8', 'INT16', 'INT32', 'INT64', 'UINT8', 'UINT16', 'UINT32', 'UINT64'] as const;

export interface TensorSpec {
  readonly inputName: string;
  readonly outputName: string;
  readonly featureCount: number;
}

export interface InferRequest {
  readonly id: string | undefined;
  readonly rows: number;
  /** rows × F */
  readonly features: Float64Array;
}

type Members = Readonly<Record<string, unknown>>;

/** @throws SerinError `INPUT_INVALID` with the rule */
export function readInferRequest(body: unknown, model: string, spec: TensorSpec): InferRequest {
  if (!isObject(body)) throw refusal('the request must be a JSON object');
  const { id, inputs, outputs } = body;
  if (id !== undefined && typeof id !== 'string') throw refusal('"id" must be a string');
  if (!Array.isArray(inputs)) throw refusal('"inputs" must be a list of tensors');
  if (inputs.length !== 1) throw refusal(`expected 1 input but got ${inputs.length} for model '${model}'`);
  refuseOtherOutputs(outputs, model, spec);
  return { id, ...readInput(inputs[0], model, spec) };
}

function readInput(
  input: unknown,
  model: string,
  { inputName, featureCount }: TensorSpec,
): { rows: number; features: Float64Array } {
  if (!isObject(input)) throw refusal('an input must be an object');
  const { name, shape, datatype, data } = input;
  if (name !== inputName)
    throw refusal(
      `unexpected inference input ${JSON.stringify(name) ?? 'without a name'} for model '${model}', which takes '${inputName}'`,
    );
  if (typeof datatype !== 'string' || !(NUMERIC as readonly string[]).includes(datatype)) {
    throw refusal(
      `input '${inputName}' has datatype ${JSON.stringify(datatype) ?? 'none'}, expected one of ${NUMERIC.join(', ')}`,
    );
  }
  if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size) && (size as number) >= 0)) {
    throw refusal(`input '${inputName}' must have a shape of non-negative integers`);
  }
  const [rows, width] = shape as number[];
  if (shape.length !== 2 || rows === undefined || width !== featureCount) {
    throw refusal(
      `unexpected shape for input '${inputName}' for model '${model}': expected [-1,${featureCount}], got [${shape.join(',')}]`,
    );
  }
  if (rows === 0) throw refusal(`input '${inputName}' has no rows`);
  if (!Array.isArray(data)) throw refusal(`input '${inputName}' must have "data", a list of numbers`);
  return { rows, features: flatten(data, rows, featureCount, { inputName, integers: !datatype.startsWith('FP') }) };
}

function flatten(
  data: readonly unknown[],
  rows: number,
  width: number,
  rule: { inputName: string; integers: boolean },
): Float64Array {
  const nested = Array.isArray(data[0]);
  const given = nested
    ? data.reduce<number>((sum, row) => sum + (Array.isArray(row) ? row.length : 0), 0)
    : data.length;
  const fits = nested
    ? data.length === rows && data.every((row) => Array.isArray(row) && row.length === width)
    : given === rows * width;
  if (!fits)
    throw refusal(
      `input '${rule.inputName}' got ${given} values, expected ${rows * width} for shape [${rows},${width}]`,
    );
  const features = new Float64Array(rows * width);
  for (let i = 0; i < features.length; i++) {
    const value = nested ? (data[Math.floor(i / width)] as unknown[])[i % width] : data[i];
    if (value === null && !rule.integers) {
      features[i] = NaN;
      continue;
    }
    if (typeof value !== 'number' || (rule.integers && !Number.isInteger(value))) {
      throw refusal(
        `input '${rule.inputName}' holds ${JSON.stringify(value)} at ${i}, expected ${rule.integers ? 'an integer' : 'a number'}`,
      );
    }
    features[i] = value;
  }
  return features;
}

function refuseOtherOutputs(outputs: unknown, model: string, { outputName }: TensorSpec): void {
  if (outputs === undefined) return;
  if (!Array.isArray(outputs)) throw refusal('"outputs" must be a list');
  for (const output of outputs) {
    const name = isObject(output) ? output['name'] : undefined;
    if (name !== outputName)
      throw refusal(
        `unexpected inference output ${JSON.stringify(name) ?? 'without a name'} for model '${model}', which gives '${outputName}'`,
      );
  }
}

export function writeInferResponse(
  model: string,
  version: string,
  { id, rows }: InferRequest,
  outputName: string,
  scores: Float64Array,
): string {
  let values = '';
  for (let i = 0; i < scores.length; i++)
    values += `${i === 0 ? '' : ','}${Number.isFinite(scores[i]) ? scores[i] : 'null'}`;
  return (
    `{"model_name":${JSON.stringify(model)},"model_version":${JSON.stringify(version)}${id === undefined ? '' : `,"id":${JSON.stringify(id)}`},` +
    `"outputs":[{"name":${JSON.stringify(outputName)},"shape":[${rows},1],"datatype":"FP32","data":[${values}]}]}`
  );
}

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refusal(rule: string): SerinError {
  return new SerinError('INPUT_INVALID', rule);
}
