import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { SerinError } from '../../domain/errors.ts';
import { modelSignature } from '../../domain/project/feature-schema.ts';
import { createSession, invalidModel, messageOf } from './create-session.ts';
import type { Scorer } from './scorer.ts';
import { chooseTreeRunner } from './tree-runner.ts';

/** What a model file must take and give; what is left out may be anything. */
export interface OnnxSignature {
  readonly inputName?: string;
  readonly outputName?: string;
  readonly featureCount?: number;
}

/** The signature of every model Serin trains: `features` float32 [N, F] → `score` float32 [N, 1]. */
export function trainedSignature(featureCount: number): OnnxSignature {
  const { input, output } = modelSignature(featureCount);
  return { inputName: input.name, outputName: output.name, featureCount };
}

export interface OnnxModel extends Scorer {
  readonly inputName: string;
  readonly outputName: string;
}

/** Rows of the warm-up runs: one, and one that takes the path for batches. */
const WARM_UP_ROWS = [1, 32] as const;

/**
 * Loads a model, checks that it takes and gives what is expected, and runs it once warm.
 * @param source path, or the bytes themselves
 * @param name what messages call it, e.g. `delay v2`
 * @throws SerinError `MODEL_FILE_INVALID` naming what differs
 */
export async function loadOnnxModel(
  source: string | Uint8Array,
  name: string,
  expected: OnnxSignature = {},
): Promise<OnnxModel> {
  const session = await createSession(source, name);
  try {
    const { inputName, outputName, featureCount } = readSignature(session, name, expected);
    const fetches = [outputName];
    const run = async (features: Float32Array, rows: number): Promise<Float32Array> => {
      const input = new Tensor('float32', features, [rows, featureCount]);
      const output = (await session.run({ [inputName]: input }, fetches))[outputName];
      if (output === undefined || output.size !== rows) {
        throw new SerinError('MODEL_FILE_INVALID', `${name}: ${rows} rows gave ${output?.size ?? 'no'} scores`);
      }
      return output.data as Float32Array;
    };
    for (const rows of WARM_UP_ROWS) await run(new Float32Array(rows * featureCount), rows);
    const trees = await chooseTreeRunner(source, featureCount, async (features, rows) => {
      return new Map([[outputName, await run(features, rows)]]);
    });
    return {
      inputName,
      outputName,
      featureCount,
      async score(features, rows) {
        const singles = Float32Array.from(features);
        const scores = trees === null ? await run(singles, rows) : trees.run(singles, rows, fetches)[0]!;
        return Float64Array.from(scores as Float32Array);
      },
      release: () => session.release(),
    };
  } catch (error) {
    await session.release();
    throw error instanceof SerinError
      ? error
      : invalidModel(name, `it loads but does not run: ${messageOf(error)}`, error);
  }
}

function readSignature(session: InferenceSession, name: string, expected: OnnxSignature) {
  const inputs = session.inputMetadata;
  const [input] = inputs;
  if (inputs.length !== 1 || !input)
    throw invalidModel(name, `it has ${inputs.length} inputs (${session.inputNames.join(', ')}), expected one`);
  if (!input.isTensor || input.type !== 'float32') {
    throw invalidModel(
      name,
      `its input "${input.name}" is ${input.isTensor ? input.type : 'no tensor'}, expected float32`,
    );
  }
  if (input.shape.length !== 2)
    throw invalidModel(name, `its input "${input.name}" has ${input.shape.length} dimensions, expected [N, F]`);
  const featureCount = input.shape[1];
  if (typeof featureCount !== 'number') throw invalidModel(name, `the width of its input "${input.name}" is not fixed`);
  if (expected.inputName !== undefined && input.name !== expected.inputName) {
    throw invalidModel(name, `its input is called "${input.name}", expected "${expected.inputName}"`);
  }
  if (expected.featureCount !== undefined && featureCount !== expected.featureCount) {
    throw invalidModel(
      name,
      `its input "${input.name}" takes ${featureCount} features, the feature set has ${expected.featureCount}`,
    );
  }
  const output = outputOf(session, name, expected.outputName);
  return { inputName: input.name, outputName: output.name, featureCount };
}

/** The named output, else the only one that can hold one number a row. */
function outputOf(
  session: InferenceSession,
  name: string,
  expected: string | undefined,
): InferenceSession.TensorValueMetadata {
  const scores = session.outputMetadata.filter(
    (output): output is InferenceSession.TensorValueMetadata =>
      output.isTensor &&
      output.type === 'float32' &&
      (output.shape.length === 1 || (output.shape.length === 2 && output.shape[1] === 1)),
  );
  const found = scores.filter((output) => expected === undefined || output.name === expected);
  const [output] = found;
  if (found.length === 1 && output) return output;
  const described = session.outputMetadata.map((each) =>
    each.isTensor ? `${each.name} ${each.type} [${each.shape.join(', ')}]` : `${each.name}, no tensor`,
  );
  throw invalidModel(
    name,
    `it gives ${described.join('; ')}, expected ${expected === undefined ? 'one' : `"${expected}"`} float32 [N, 1]`,
  );
}
