import protobuf from 'protobufjs';

/**
 * The part of ONNX's messages that Serin writes or looks at, with the field numbers of the standard (onnx/onnx-ml.proto).
 * Fields not named here are skipped when reading.
 */
const SCHEMA = `
syntax = "proto2";
package onnx;

message AttributeProto {
  optional string name = 1;
  optional float f = 2;
  optional int64 i = 3;
  optional bytes s = 4;
  optional TensorProto t = 5;
  repeated float floats = 7;
  repeated int64 ints = 8;
  repeated bytes strings = 9;
  optional int32 type = 20;
}
message NodeProto {
  repeated string input = 1;
  repeated string output = 2;
  optional string name = 3;
  optional string op_type = 4;
  repeated AttributeProto attribute = 5;
  optional string domain = 7;
}
message TensorProto {
  repeated int64 dims = 1;
  optional int32 data_type = 2;
  optional string name = 8;
  optional bytes raw_data = 9;
  optional int32 data_location = 14;
}
message SparseTensorProto {
  optional TensorProto values = 1;
}
message TensorShapeProto {
  message Dimension {
    oneof value {
      int64 dim_value = 1;
      string dim_param = 2;
    }
  }
  repeated Dimension dim = 1;
}
message TypeProto {
  message Tensor {
    optional int32 elem_type = 1;
    optional TensorShapeProto shape = 2;
  }
  optional Tensor tensor_type = 1;
}
message ValueInfoProto {
  optional string name = 1;
  optional TypeProto type = 2;
}
message GraphProto {
  repeated NodeProto node = 1;
  optional string name = 2;
  repeated TensorProto initializer = 5;
  repeated ValueInfoProto input = 11;
  repeated ValueInfoProto output = 12;
  repeated SparseTensorProto sparse_initializer = 15;
}
message OperatorSetIdProto {
  optional string domain = 1;
  optional int64 version = 2;
}
message StringStringEntryProto {
  optional string key = 1;
  optional string value = 2;
}
message ModelProto {
  optional int64 ir_version = 1;
  optional string producer_name = 2;
  optional string producer_version = 3;
  optional GraphProto graph = 7;
  repeated OperatorSetIdProto opset_import = 8;
  repeated StringStringEntryProto metadata_props = 14;
}
`;

const modelType = protobuf.parse(SCHEMA, { keepCase: true }).root.lookupType('onnx.ModelProto');

export const ATTRIBUTE_TYPE = { FLOAT: 1, INT: 2, STRING: 3, FLOATS: 6, INTS: 7, STRINGS: 8 } as const;
/** TensorProto.DataType, with the names Serin uses. */
export const ELEMENT_TYPES: ReadonlyMap<number, string> = new Map([
  [1, 'float32'],
  [2, 'uint8'],
  [3, 'int8'],
  [4, 'uint16'],
  [5, 'int16'],
  [6, 'int32'],
  [7, 'int64'],
  [8, 'string'],
  [9, 'bool'],
  [10, 'float16'],
  [11, 'float64'],
  [12, 'uint32'],
  [13, 'uint64'],
  [16, 'bfloat16'],
]);
export const FLOAT32 = 1;
/** TensorProto.DataLocation: the values lie in another file. */
export const EXTERNAL_DATA = 1;

export interface Attribute {
  readonly name: string;
  readonly type: number;
  readonly f?: number;
  readonly i?: number;
  readonly floats?: readonly number[];
  readonly ints?: readonly number[];
  readonly strings?: readonly Uint8Array[];
}

export interface Tensor {
  readonly name: string;
  readonly dims: readonly number[];
  readonly data_type: number;
  readonly raw_data: Uint8Array;
  readonly data_location?: number;
}

export interface Dimension {
  readonly dim_value?: number;
  readonly dim_param?: string;
}

export interface ValueInfo {
  readonly name: string;
  readonly type: {
    readonly tensor_type?: { readonly elem_type: number; readonly shape?: { readonly dim: readonly Dimension[] } };
  };
}

export interface GraphNode {
  readonly op_type: string;
  readonly domain?: string;
  readonly name?: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute?: readonly Attribute[];
}

export interface Graph {
  readonly name: string;
  readonly node: readonly GraphNode[];
  readonly initializer: readonly Tensor[];
  readonly sparse_initializer?: readonly { readonly values?: Tensor }[];
  readonly input: readonly ValueInfo[];
  readonly output: readonly ValueInfo[];
}

export interface OnnxModel {
  readonly ir_version: number;
  readonly producer_name: string;
  readonly producer_version: string;
  readonly opset_import: readonly { readonly domain: string; readonly version: number }[];
  readonly graph: Graph;
  readonly metadata_props: readonly { readonly key: string; readonly value: string }[];
}

export function encodeModel(model: OnnxModel): Uint8Array {
  return modelType.encode(modelType.create(model)).finish();
}

/** The message as plain data with every field of the schema filled (0, '', [] or null where absent). @throws what protobufjs throws */
export function decodeModel(bytes: Uint8Array): unknown {
  return modelType.toObject(modelType.decode(bytes), { longs: Number, defaults: true, arrays: true });
}
