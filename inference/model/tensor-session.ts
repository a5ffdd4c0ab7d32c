import { allocate, copyInto, sliceOf } from '../oip/datatypes.ts';
import type { Tensor, TensorMetadata } from '../oip/model.ts';

/** A loaded model: tensors of any datatype in and out, by whichever runner computes it. */
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
