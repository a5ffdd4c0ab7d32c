import type { Tensor } from 'onnxruntime-node';
import type { Datatype } from '../oip/datatypes.ts';

/** ONNX Runtime's names of the datatypes that it takes from JavaScript. */
const ORT_TYPES: Readonly<Record<Datatype, Tensor.Type>> = {
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

export function ortTypeOf(datatype: Datatype): Tensor.Type {
  return ORT_TYPES[datatype];
}

/** @returns undefined for a type that is not served */
export function datatypeOf(type: Tensor.Type): Datatype | undefined {
  return DATATYPES.get(type);
}
