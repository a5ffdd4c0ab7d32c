import { writeBinaryData, writeJsonData } from './datatypes.ts';
import type { InferRequest } from './infer-request.ts';
import type { Tensor, TensorModel } from './model.ts';

export interface InferResponse {
  readonly body: string | Buffer;
  /** Of a body with binary data: the bytes of JSON in front of it. */
  readonly headerLength: number | null;
}

/** @param tensors one per `request.outputs`, in that order */
export function writeInferResponse(
  { name, version, outputs }: TensorModel,
  request: InferRequest,
  tensors: readonly Tensor[],
): InferResponse {
  const parts: Buffer[] = [];
  let json = `{"model_name":${JSON.stringify(name)},"model_version":${JSON.stringify(version)},`;
  if (request.id !== undefined) json += `"id":${JSON.stringify(request.id)},`;
  json += '"outputs":[';
  for (let i = 0; i < tensors.length; i++) {
    const { datatype, shape, data } = tensors[i]!;
    const output = outputs[request.outputs[i]!]!.name;
    json += `${i === 0 ? '' : ','}{"name":${JSON.stringify(output)},"datatype":"${datatype}","shape":[${shape.join(',')}],`;
    if (request.binary[i] === true) {
      const bytes = writeBinaryData(datatype, data);
      parts.push(bytes);
      json += `"parameters":{"binary_data_size":${bytes.length}}}`;
    } else {
      json += `"data":[${writeJsonData(datatype, data)}]}`;
    }
  }
  json += ']}';
  if (parts.length === 0) return { body: json, headerLength: null };
  const head = Buffer.from(json, 'utf8');
  return { body: Buffer.concat([head, ...parts]), headerLength: head.length };
}
