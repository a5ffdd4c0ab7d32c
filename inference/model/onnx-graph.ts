/** The parts of an ONNX file that say what it computes and where its weights lie; everything else is passed over. */
import protobuf from 'protobufjs';

/**
 * Of onnx/onnx-ml.proto, the fields that are read. int64 is read as int32, which is the same on the wire and need not become
 * an object first: ids of nodes and features are small, and labels that are not would not agree with ONNX Runtime's.
 */
const SCHEMA = `
syntax = "proto2";
package onnx;
message Attribute {
  optional string name = 1; optional float f = 2; optional int32 i = 3; optional bytes s = 4;
  repeated float floats = 7 [packed = true]; repeated int32 ints = 8 [packed = true]; repeated bytes strings = 9;
}
message Node {
  repeated string input = 1; repeated string output = 2; optional string op_type = 4; repeated Attribute attribute = 5;
  optional string domain = 7;
}
message Entry { optional string key = 1; optional string value = 2; }
message Tensor {
  optional int32 data_type = 2; repeated float float_data = 4; optional string name = 8;
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
    const { graph } = MODEL.toObject(MODEL.decode(bytes), { defaults: true, arrays: true }) as {
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
