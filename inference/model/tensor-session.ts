import { type InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { SerinError } from '../../domain/errors.ts';
import { allocate, copyInto, type Datatype, sliceOf, type TensorData } from '../oip/datatypes.ts';
import type { Tensor, TensorMetadata } from '../oip/model.ts';
import { createSession, invalidModel, messageOf } from './create-session.ts';
import { chooseTreeRunner, type TreeRunner } from './tree-runner.ts';

/** ONNX Runtime's names of the datatypes that it takes from JavaScript. */
const ORT_TYPES: Readonly<Record<Datatype, OrtTensor.Type>> = {
  BOOL: 'bool',
  UINT8: 'uint8',
  UINT16: 'uint16',
  UINT32: 'uint32',
  UINT64: 'uint64',
  INT8: 'int8',
  INT16: 'int16',
  INT32: 'int32',
  INT64: 'int64',
  FP16: 'float16',
  FP32: 'float32',
  FP64: 'float64',
  BYTES: 'string',
};
const DATATYPES = new Map(Object.entries(ORT_TYPES).map(([datatype, type]) => [type, datatype as Datatype]));

/** Any ONNX model: tensors of any datatype in and out. Runs block the event loop, so they belong into a batch. */
export interface TensorSession {
  readonly inputs: readonly TensorMetadata[];
  /** Outputs that are tensors; sequences and maps (scikit-learn's ZipMap) cannot be fetched and are left out. */
  readonly outputs: readonly TensorMetadata[];
  /** Whether the first dimension of every tensor is the batch, of any size. */
  readonly batched: boolean;
  /** @throws SerinError INFERENCE_FAILED with what ONNX Runtime says */
  run(inputs: readonly Tensor[], outputs: readonly number[]): Promise<Tensor[]>;
  release(): Promise<void>;
}

/** @param name what messages call it @throws SerinError MODEL_FILE_INVALID */
export async function openTensorSession(path: string, name: string): Promise<TensorSession> {
  const session = await createSession(path, name);
  try {
    const inputs = session.inputMetadata.map((input) => {
      if (!input.isTensor) throw invalidModel(name, `its input "${input.name}" is no tensor`);
      return metadataOf(input, name);
    });
    const outputs = session.outputMetadata.flatMap((output) => (output.isTensor ? [metadataOf(output, name)] : []));
    if (inputs.length === 0 || outputs.length === 0)
      throw invalidModel(name, `it has ${inputs.length} inputs and ${outputs.length} outputs that are tensors`);
    const opened = await settle(runOf(session, name, inputs, outputs), name, inputs, outputs);
    const trees = await treesOf(path, opened);
    return { ...opened, ...(trees !== null && { run: treeRun(opened, trees) }), release: () => session.release() };
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
      feeds[inputs[i]!.name] = new OrtTensor(ORT_TYPES[datatype], data as OrtTensor['data'] & string[], shape);
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

type Opened = Omit<TensorSession, 'release'>;

/**
 * Runs a model on one row and on two: a first run is slower than the next, a model that cannot run at all had better say so
 * now, and files say things of their outputs that do not hold (a label of shape [1] for any number of rows).
 */
async function settle(
  run: Run,
  name: string,
  inputs: readonly TensorMetadata[],
  outputs: readonly TensorMetadata[],
): Promise<Opened> {
  const takesBatches = inputs.every(({ shape }) => shape[0] === -1);
  if (inputs.some(({ shape }) => shape.slice(1).includes(-1))) {
    return { inputs, outputs, batched: takesBatches && outputs.every(({ shape }) => shape[0] === -1), run };
  }
  const all = outputs.map((_, i) => i);
  const runWith = async (rows: number): Promise<Tensor[]> => {
    try {
      return await run(
        inputs.map(({ datatype, shape }) => {
          const sizes = shape.map((size) => (size === -1 ? rows : size));
          return { datatype, shape: sizes, data: zeros(datatype, sizes) };
        }),
        all,
      );
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

async function treesOf(path: string, { inputs, outputs, batched, run }: Opened): Promise<TreeRunner | null> {
  const [input] = inputs;
  if (!batched || inputs.length !== 1 || input!.datatype !== 'FP32' || input!.shape.length !== 2) return null;
  const width = input!.shape[1]!;
  const all = outputs.map((_, i) => i);
  return chooseTreeRunner(path, width, async (data, rows) => {
    const tensors = await run([{ datatype: 'FP32', shape: [rows, width], data }], all);
    return new Map(outputs.map(({ name }, i) => [name, tensors[i]!.data]));
  });
}

function treeRun({ outputs }: Opened, trees: TreeRunner): Run {
  return (given, asked) => {
    const { data, shape } = given[0]!;
    const rows = shape[0]!;
    const results = trees.run(
      data as Float32Array,
      rows,
      asked.map((at) => outputs[at]!.name),
    );
    return Promise.resolve(
      asked.map((at, i) => {
        const { datatype, shape: sizes } = outputs[at]!;
        return { datatype, shape: [rows, ...sizes.slice(1)], data: results[i]! };
      }),
    );
  };
}

function zeros(datatype: Datatype, shape: readonly number[]): TensorData {
  const data = allocate(
    datatype,
    shape.reduce((product, size) => product * size, 1),
  );
  return Array.isArray(data) ? data.fill('') : data;
}

function metadataOf(value: InferenceSession.TensorValueMetadata, model: string): TensorMetadata {
  const datatype = DATATYPES.get(value.type);
  if (datatype === undefined)
    throw invalidModel(model, `"${value.name}" is of type ${value.type}, which is not served`);
  return {
    name: value.name,
    datatype,
    shape: value.shape.map((size) => (typeof size === 'number' && size >= 0 ? size : -1)),
  };
}

/** Several requests' inputs as one batch. Shapes agree but for the first dimension. */
export function joinBatch(requests: readonly (readonly Tensor[])[]): Tensor[] {
  const [first] = requests;
  if (requests.length === 1) return [...first!];
  return first!.map(({ datatype, shape }, i) => {
    const elements = requests.reduce((sum, inputs) => sum + inputs[i]!.data.length, 0);
    const rows = requests.reduce((sum, inputs) => sum + inputs[i]!.shape[0]!, 0);
    const data = allocate(datatype, elements);
    let at = 0;
    for (const inputs of requests) {
      copyInto(data, inputs[i]!.data, at);
      at += inputs[i]!.data.length;
    }
    return { datatype, shape: [rows, ...shape.slice(1)], data };
  });
}

/** The outputs of `joinBatch`'s run for the request whose rows begin at `from`. */
export function partOfBatch(outputs: readonly Tensor[], from: number, rows: number): Tensor[] {
  return outputs.map(({ datatype, shape, data }) => {
    const width = data.length / shape[0]!;
    return { datatype, shape: [rows, ...shape.slice(1)], data: sliceOf(data, from * width, (from + rows) * width) };
  });
}
