import { agreesWithGolden, type GoldenRows } from '../../domain/registry/golden-rows.ts';
import { SerinError } from '../../domain/errors.ts';
import { isDatatype, readJsonData, type TensorData } from '../oip/datatypes.ts';
import type { Tensor, TensorMetadata } from '../oip/model.ts';
import { invalidModel } from './create-session.ts';

/** A request whose answer is known: what a version must say before it answers anybody. */
export interface GoldenRequest {
  readonly inputs: readonly Tensor[];
  /** Known outputs by name; those that are not named are not compared. */
  readonly outputs: ReadonlyMap<string, TensorData>;
  readonly rows: number;
  /** Largest difference of a number from the known one; null: 1e-5 of it. */
  readonly maxDifference: number | null;
}

/** The golden rows of a manifest as a request of its model. */
export function requestOfRows({ features, scores }: GoldenRows, outputName: string): GoldenRequest {
  const width = features[0]?.length ?? 0;
  const data = Float32Array.from(features.flat(), (value) => value ?? NaN);
  return {
    inputs: [{ datatype: 'FP32', shape: [features.length, width], data }],
    outputs: new Map([[outputName, Float64Array.from(scores, (value) => value ?? NaN)]]),
    rows: features.length,
    maxDifference: null,
  };
}

interface JsonTensor {
  readonly name?: unknown;
  readonly datatype?: unknown;
  readonly shape?: unknown;
  readonly data?: unknown;
}

/**
 * A golden file: `inputs` of a request and `outputs` of its answer, as the Open Inference Protocol writes them; null in
 * floating-point data is NaN. `maxDifference` is for a model that answers almost as another one does: an int8 variant held
 * against the answers of the model it was made from.
 * @throws SerinError MODEL_FILE_INVALID naming what the file lacks
 */
export function readGoldenFile(
  text: string,
  name: string,
  inputs: readonly TensorMetadata[],
  outputs: readonly TensorMetadata[],
): GoldenRequest {
  const refuse = (problem: string): SerinError => invalidModel(name, `its golden file ${problem}`);
  let file: { readonly inputs?: unknown; readonly outputs?: unknown; readonly maxDifference?: unknown } | null;
  try {
    file = JSON.parse(text) as typeof file;
  } catch (error) {
    throw refuse(`is no JSON: ${(error as Error).message}`);
  }
  if (!Array.isArray(file?.inputs) || !Array.isArray(file.outputs) || file.outputs.length === 0)
    throw refuse('must hold "inputs" and "outputs", lists of tensors');
  const { maxDifference = null } = file;
  if (maxDifference !== null && !(typeof maxDifference === 'number' && maxDifference >= 0))
    throw refuse('must give "maxDifference" as a number from 0, or not at all');
  const read = (given: JsonTensor | undefined, { name: tensor, datatype }: TensorMetadata): Tensor => {
    const { datatype: said, shape, data } = given ?? {};
    if (!isDatatype(said) || said !== datatype || !Array.isArray(shape) || !shape.every(Number.isSafeInteger))
      throw refuse(`must give "${tensor}" as ${datatype} with its shape`);
    const sizes = shape as number[];
    const elements = sizes.reduce((product, size) => product * size, 1);
    try {
      return {
        datatype,
        shape: sizes,
        data: readJsonData(data, { name: tensor, datatype, elements, shape: sizes, nullIsNaN: true }),
      };
    } catch (error) {
      throw error instanceof SerinError ? refuse(`does not hold "${tensor}": ${error.message}`) : error;
    }
  };
  const [givenInputs, givenOutputs] = [file.inputs as JsonTensor[], file.outputs as JsonTensor[]];
  const tensors = inputs.map((input) =>
    read(
      givenInputs.find((each) => each.name === input.name),
      input,
    ),
  );
  const known = givenOutputs.map((given): [string, TensorData] => {
    const output = outputs.find((each) => each.name === given.name);
    if (output === undefined) throw refuse(`names the output "${String(given.name)}", which the model does not have`);
    return [output.name, read(given, output).data];
  });
  return { inputs: tensors, outputs: new Map(known), rows: tensors[0]?.shape[0] ?? 1, maxDifference };
}

/**
 * @param given the model's outputs for `golden.inputs`, one per entry of `outputs`
 * @throws SerinError MODEL_FILE_INVALID naming row, expected and given value
 */
export function checkGolden(
  { outputs: known, rows, maxDifference }: GoldenRequest,
  name: string,
  outputs: readonly TensorMetadata[],
  given: readonly Tensor[],
): void {
  outputs.forEach(({ name: output }, i) => {
    const expected = known.get(output);
    if (expected === undefined) return;
    const got = given[i]!.data;
    const wrong = (row: number, problem: string): SerinError => invalidModel(name, `golden row ${row}: ${problem}`);
    if (got.length !== expected.length)
      throw wrong(0, `"${output}" has ${got.length} values, expected ${expected.length}`);
    for (let at = 0; at < expected.length; at++) {
      if (sameValue(got[at]!, expected[at]!, maxDifference)) continue;
      const row = Math.floor(at / Math.max(1, expected.length / rows));
      throw wrong(row, `"${output}" is ${String(got[at])}, expected ${String(expected[at])}`);
    }
  });
}

function sameValue(given: TensorData[number], known: TensorData[number], maxDifference: number | null): boolean {
  if (typeof given !== 'number' || typeof known !== 'number') return given === known;
  return agreesWithGolden(given, known) || (maxDifference !== null && Math.abs(given - known) <= maxDifference);
}
