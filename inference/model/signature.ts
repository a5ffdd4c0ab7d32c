import { modelSignature } from '../../domain/project/feature-schema.ts';
import type { Datatype } from '../oip/datatypes.ts';
import type { TensorMetadata } from '../oip/model.ts';
import { invalidModel } from './create-session.ts';
import { ortTypeOf } from './ort-types.ts';

/** What the file of a version must take and give. */
export interface OnnxSignature {
  readonly inputName: string;
  readonly outputName: string;
  readonly featureCount: number;
}

/** The signature of every model Serin trains: `features` float32 [N, F] → `score` float32 [N, 1]. */
export function trainedSignature(featureCount: number): OnnxSignature {
  const { input, output } = modelSignature(featureCount);
  return { inputName: input.name, outputName: output.name, featureCount };
}

/** @throws SerinError MODEL_FILE_INVALID naming what differs */
export function checkSignature(
  inputs: readonly TensorMetadata[],
  outputs: readonly TensorMetadata[],
  name: string,
  expected: OnnxSignature,
): void {
  const [input] = inputs;
  if (inputs.length !== 1 || !input)
    throw invalidModel(
      name,
      `it has ${inputs.length} inputs (${inputs.map((each) => each.name).join(', ')}), expected one`,
    );
  const called = `its input "${input.name}"`;
  if (input.datatype !== 'FP32')
    throw invalidModel(name, `${called} is ${ortTypeOf(input.datatype)}, expected float32`);
  if (input.shape.length !== 2)
    throw invalidModel(name, `${called} has ${input.shape.length} dimensions, expected [N, F]`);
  const featureCount = input.shape[1]!;
  if (featureCount < 0) throw invalidModel(name, `the width of ${called} is not fixed`);
  if (input.name !== expected.inputName)
    throw invalidModel(name, `its input is called "${input.name}", expected "${expected.inputName}"`);
  if (featureCount !== expected.featureCount)
    throw invalidModel(name, `${called} takes ${featureCount} features, the feature set has ${expected.featureCount}`);
  if (outputs.some((output) => output.name === expected.outputName && isOneScoreARow(output))) return;
  const described = outputs.map((each) => `${each.name} ${describe(each.datatype, each.shape)}`);
  throw invalidModel(name, `it gives ${described.join('; ')}, expected "${expected.outputName}" float32 [N, 1]`);
}

function isOneScoreARow({ datatype, shape }: TensorMetadata): boolean {
  return datatype === 'FP32' && (shape.length === 1 || (shape.length === 2 && shape[1] === 1));
}

function describe(datatype: Datatype, shape: readonly number[]): string {
  return `${ortTypeOf(datatype)} [${shape.map((size) => (size === -1 ? 'N' : size)).join(', ')}]`;
}
