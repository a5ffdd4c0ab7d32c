/** The parts of an ONNX file that say what it computes and where its weights lie; everything else is passed over. */
import protobuf from 'protobufjs';

/** Of onnx/onnx-ml.proto, the fields that are read. */
const SCHEMA = `
syntax = "proto2";
package onnx;
message Attribute {
  optional string name = 1; optional float f = 2; optional int64 i = 3; optional bytes s = 4;
  repeated float floats = 7 [packed = true]; repeated int64 ints = 8 [packed = true]; repeated bytes strings = 9;
}
message Node {
  repeated string input = 1; repeated string output = 2; optional string op_type = 4; repeated Attribute attribute = 5;
  optional string domain = 7;
}
message Entry { optional string key = 1; optional string value = 2; }
message Tensor {
  repeated int64 dims = 1; optional int32 data_type = 2; repeated float float_data = 4; optional string name = 8;
  optional bytes raw_data = 9; repeated Entry external_data = 13;
}
message Value { optional string name = 1; }
message Graph {
  repeated Node node = 1; repeated Tensor initializer = 5; repeated Value input = 11; repeated Value output = 12;
}
message Model { optional Graph graph = 7; }
`;
const MODEL = protobuf.parse(SCHEMA, { keepCase: true }).root.lookupType('onnx.Model');

export interface OnnxAttribute {
  readonly name: string;
  readonly i: number;
  readonly s: Uint8Array;
  readonly floats: readonly number[];
  readonly ints: readonly number[];
  readonly strings: readonly Uint8Array[];
}
export interface OnnxNode {
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly op_type: string;
  readonly attribute: readonly OnnxAttribute[];
  readonly domain: string;
}
export interface OnnxTensor {
  readonly name: string;
  readonly data_type: number;
  readonly float_data: readonly number[];
  readonly raw_data: Uint8Array;
  readonly external_data: readonly { readonly key: string; readonly value: string }[];
}
export interface OnnxGraph {
  readonly node: readonly OnnxNode[];
  readonly initializer: readonly OnnxTensor[];
  readonly input: readonly { readonly name: string }[];
  readonly output: readonly { readonly name: string }[];
}

/** @returns null for bytes that are no ONNX file */
export function readOnnxGraph(bytes: Uint8Array): OnnxGraph | null {
  try {
    const { graph } = MODEL.toObject(MODEL.decode(bytes), { longs: Number, defaults: true, arrays: true }) as {
      graph: OnnxGraph | null;
    };
    return graph;
  } catch {
    return null;
  }
}

/** Bytes of weights that lie in files beside the model's own. */
export function externalBytes({ initializer }: OnnxGraph): number {
  let bytes = 0;
  for (const { external_data: entries } of initializer) {
    for (const { key, value } of entries) if (key === 'length') bytes += Number(value);
  }
  return bytes;
}
