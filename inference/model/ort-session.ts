import { type InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { messageOf, SerinError } from '../../domain/errors.ts';
import { allocate, type Datatype, type TensorData } from '../oip/datatypes.ts';
import type { Tensor, TensorMetadata } from '../oip/model.ts';
import { createSession, invalidModel, type SessionChoice } from './create-session.ts';
import { datatypeOf, ortTypeOf } from './ort-types.ts';
import type { TensorSession } from './tensor-session.ts';
import { runningMs } from './thread-priority.ts';

/** Any ONNX model by ONNX Runtime, in the thread that opens it: creating it and every run block that thread. */
export interface OrtSession extends TensorSession {
  /** What its creation took, milliseconds; without the time that others had the core, as far as that is known. */
  readonly createMs: number;
  /** Whether every dimension but the batch is fixed, so that it can be asked without a request to go by. */
  readonly fixed: boolean;
}

/** How far a kernel's account of a running thread is behind, at most: 250 ticks a second. */
const TICK_MS = 4;

/**
 * Opens a model, and runs it on one row and on two where its shapes are fixed: a first run is slower than the next, a model
 * that cannot run at all had better say so now, and files say things of their outputs that do not hold (a label of shape [1]
 * for any number of rows).
 * @param name what messages call it @throws SerinError MODEL_FILE_INVALID
 */
export async function openOrtSession(path: string, name: string, choice: SessionChoice): Promise<OrtSession> {
  const [startedMs, ranMs] = [performance.now(), runningMs()];
  const session = await createSession(path, name, choice);
  const tookMs = performance.now() - startedMs;
  const createMs = ranMs === null ? tookMs : Math.min(tookMs, runningMs()! - ranMs + TICK_MS);
  try {
    const inputs = session.inputMetadata.map((input) => {
      if (!input.isTensor) throw invalidModel(name, `its input "${input.name}" is no tensor`);
      return metadataOf(input, name);
    });
    const outputs = session.outputMetadata.flatMap((output) => (output.isTensor ? [metadataOf(output, name)] : []));
    if (inputs.length === 0 || outputs.length === 0)
      throw invalidModel(name, `it has ${inputs.length} inputs and ${outputs.length} outputs that are tensors`);
    const fixed = inputs.every(({ shape }) => !shape.slice(1).includes(-1));
    const opened = await settle(runOf(session, name, inputs, outputs), name, { inputs, outputs, fixed });
    return { ...opened, createMs, fixed, release: () => session.release() };
  } catch (error) {
    await session.release();
    throw error;
  }
}

type Run = TensorSession['run'];

function runOf(
  session: InferenceSession,
  name: string,
  inputs: readonly TensorMetadata[],
  outputs: readonly TensorMetadata[],
): Run {
  return async (given, asked) => {
    const feeds: Record<string, OrtTensor> = {};
    for (let i = 0; i < inputs.length; i++) {
      const { datatype, shape, data } = given[i]!;
      feeds[inputs[i]!.name] = new OrtTensor(ortTypeOf(datatype), data as OrtTensor['data'] & string[], shape);
    }
    let results: InferenceSession.OnnxValueMapType;
    try {
      results = await session.run(
        feeds,
        asked.map((at) => outputs[at]!.name),
      );
    } catch (error) {
      throw new SerinError('INFERENCE_FAILED', `${name}: ${messageOf(error)}`, { cause: error });
    }
    return asked.map((at) => {
      const { name: output, datatype } = outputs[at]!;
      const result = results[output]!;
      return { datatype, shape: result.dims, data: result.data as TensorData };
    });
  };
}

interface Declared {
  readonly inputs: readonly TensorMetadata[];
  readonly outputs: readonly TensorMetadata[];
  readonly fixed: boolean;
}

async function settle(
  run: Run,
  name: string,
  { inputs, outputs, fixed }: Declared,
): Promise<Omit<TensorSession, 'release'>> {
  const takesBatches = inputs.every(({ shape }) => shape[0] === -1);
  if (!fixed) return { inputs, outputs, batched: takesBatches && outputs.every(({ shape }) => shape[0] === -1), run };
  const all = outputs.map((_, i) => i);
  const runWith = async (rows: number): Promise<Tensor[]> => {
    try {
      return await run(zeroInputs(inputs, rows), all);
    } catch (error) {
      throw invalidModel(name, `it loads but does not run: ${messageOf(error)}`, error);
    }
  };
  await runWith(1);
  if (!takesBatches) return { inputs, outputs, batched: false, run };
  const two = await runWith(2);
  const batched = two.every(({ shape }) => shape[0] === 2);
  const found = outputs.map((output) => ({ ...output, shape: [-1, ...output.shape.slice(1)] }));
  return { inputs, outputs: batched ? found : outputs, batched, run };
}

/** Inputs of zeros and empty texts; every dimension but the first must be fixed. */
export function zeroInputs(inputs: readonly TensorMetadata[], rows: number): Tensor[] {
  return inputs.map(({ datatype, shape }) => {
    const sizes = shape.map((size) => (size === -1 ? rows : size));
    return { datatype, shape: sizes, data: zeros(datatype, sizes) };
  });
}

function zeros(datatype: Datatype, shape: readonly number[]): TensorData {
  const data = allocate(
    datatype,
    shape.reduce((product, size) => product * size, 1),
  );
  return Array.isArray(data) ? data.fill('') : data;
}

function metadataOf(value: InferenceSession.TensorValueMetadata, model: string): TensorMetadata {
  const datatype = datatypeOf(value.type);
  if (datatype === undefined)
    throw invalidModel(model, `"${value.name}" is of type ${value.type}, which is not served`);
  return {
    name: value.name,
    datatype,
    shape: value.shape.map((size) => (typeof size === 'number' && size >= 0 ? size : -1)),
  };
}
