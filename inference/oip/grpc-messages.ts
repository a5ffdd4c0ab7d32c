import type { ServiceDefinition, MethodDefinition } from '@grpc/grpc-js';
import Long from 'long';
import protobuf from 'protobufjs';
import type { SerinError } from '../../domain/errors.ts';
import { refusal } from './describe.ts';

/**
 * The part of the protocol's gRPC interface that Serin speaks, with the names and field numbers that its clients use
 * (service inference.GRPCInferenceService; Triton's extensions for statistics, configuration and the repository).
 */
const SCHEMA = `
syntax = "proto3";
package inference;

message Empty {}
message Live { bool live = 1; }
message Ready { bool ready = 1; }
message ModelName { string name = 1; string version = 2; }
message ServerMetadata { string name = 1; string version = 2; repeated string extensions = 3; }
message TensorMetadata { string name = 1; string datatype = 2; repeated int64 shape = 3; }
message ModelMetadata {
  string name = 1;
  repeated string versions = 2;
  string platform = 3;
  repeated TensorMetadata inputs = 4;
  repeated TensorMetadata outputs = 5;
}
message Parameter {
  oneof parameter_choice {
    bool bool_param = 1;
    int64 int64_param = 2;
    string string_param = 3;
    double double_param = 4;
    uint64 uint64_param = 5;
  }
}
message Contents {
  repeated bool bool_contents = 1;
  repeated int32 int_contents = 2;
  repeated int64 int64_contents = 3;
  repeated uint32 uint_contents = 4;
  repeated uint64 uint64_contents = 5;
  repeated float fp32_contents = 6;
  repeated double fp64_contents = 7;
  repeated bytes bytes_contents = 8;
}
message InputTensor {
  string name = 1;
  string datatype = 2;
  repeated int64 shape = 3;
  map<string, Parameter> parameters = 4;
  Contents contents = 5;
}
message RequestedOutput { string name = 1; map<string, Parameter> parameters = 2; }
message InferRequest {
  string model_name = 1;
  string model_version = 2;
  string id = 3;
  map<string, Parameter> parameters = 4;
  repeated InputTensor inputs = 5;
  repeated RequestedOutput outputs = 6;
  repeated bytes raw_input_contents = 7;
}
message OutputTensor {
  string name = 1;
  string datatype = 2;
  repeated int64 shape = 3;
  map<string, Parameter> parameters = 4;
  Contents contents = 5;
}
message InferResponse {
  string model_name = 1;
  string model_version = 2;
  string id = 3;
  map<string, Parameter> parameters = 4;
  repeated OutputTensor outputs = 5;
  repeated bytes raw_output_contents = 6;
}
message ConfigInput { string name = 1; int32 data_type = 2; repeated int64 dims = 4; }
message ConfigOutput { string name = 1; int32 data_type = 2; repeated int64 dims = 3; }
message Config {
  string name = 1;
  string platform = 2;
  int32 max_batch_size = 4;
  repeated ConfigInput input = 5;
  repeated ConfigOutput output = 6;
  string default_model_filename = 8;
  string backend = 17;
}
message ConfigResponse { Config config = 1; }
message Durations { uint64 count = 1; uint64 ns = 2; }
message InferStatistics {
  Durations success = 1;
  Durations fail = 2;
  Durations queue = 3;
  Durations compute_input = 4;
  Durations compute_infer = 5;
  Durations compute_output = 6;
  Durations cache_hit = 7;
  Durations cache_miss = 8;
}
message BatchStatistics {
  uint64 batch_size = 1;
  Durations compute_input = 2;
  Durations compute_infer = 3;
  Durations compute_output = 4;
}
message ModelStatistics {
  string name = 1;
  string version = 2;
  uint64 last_inference = 3;
  uint64 inference_count = 4;
  uint64 execution_count = 5;
  InferStatistics inference_stats = 6;
  repeated BatchStatistics batch_stats = 7;
}
message StatisticsResponse { repeated ModelStatistics model_stats = 1; }
message IndexRequest { string repository_name = 1; bool ready = 2; }
message IndexEntry { string name = 1; string version = 2; string state = 3; string reason = 4; }
message IndexResponse { repeated IndexEntry models = 1; }
message RepositoryParameter {
  oneof parameter_choice {
    bool bool_param = 1;
    int64 int64_param = 2;
    string string_param = 3;
    bytes bytes_param = 4;
  }
}
message RepositoryRequest {
  string repository_name = 1;
  string model_name = 2;
  map<string, RepositoryParameter> parameters = 3;
}
`;

// protobufjs takes 64-bit integers as numbers where no Long is known; tensors need all 64 bits
protobuf.util.Long = Long;
protobuf.configure();
const root = protobuf.parse(SCHEMA, { keepCase: true }).root;

export type Message = Readonly<Record<string, unknown>>;

/** Below, the worst that a message can be is decoded in a tenth of a second. */
const COUNTED_FROM_BYTES = 1 << 16;
/** Inputs, outputs, parameters. */
const MAX_PARTS = 10_000;
/** Integers of 64 bits, which become texts, and elements that come one by one. */
const MAX_VALUES = 1_000_000;
const [VARINT, LENGTH_DELIMITED] = [0, 2];

/**
 * What a large message would be too costly for: two bytes are an input without anything, which becomes half a kilobyte of objects,
 * so that 20 MB held the event loop for a minute until the memory of the process was full.
 */
function costlyIn(type: protobuf.Type, bytes: Uint8Array): SerinError | null {
  if (bytes.length < COUNTED_FROM_BYTES) return null;
  const reader = protobuf.Reader.create(bytes);
  let parts = 0;
  let values = 0;
  const count = (of: protobuf.Type, end: number): void => {
    while (reader.pos < end && parts <= MAX_PARTS && values <= MAX_VALUES) {
      const tag = reader.uint32();
      const field = of.fieldsById[tag >>> 3]?.resolve();
      if ((tag & 7) !== LENGTH_DELIMITED || field === undefined) {
        values++;
        reader.skipType(tag & 7);
        continue;
      }
      const to = reader.uint32() + reader.pos;
      if (field.resolvedType instanceof protobuf.Type || field.map) parts++;
      else values++;
      if (field.resolvedType instanceof protobuf.Type && !field.map) count(field.resolvedType, to);
      else if (field.repeated && field.type.endsWith('int64'))
        while (reader.pos < to && values++ <= MAX_VALUES) reader.skipType(VARINT);
      reader.pos = to;
    }
  };
  count(type, bytes.length);
  if (parts > MAX_PARTS) return refusal(`the message has more than ${MAX_PARTS} inputs, outputs and parameters`);
  if (values > MAX_VALUES)
    return refusal(`the message has more than ${MAX_VALUES} values one by one: send them as raw_input_contents`);
  return null;
}

function method(name: string, request: string, response: string): MethodDefinition<Message, Message> {
  const [asked, given] = [root.lookupType(`inference.${request}`), root.lookupType(`inference.${response}`)];
  return {
    path: `/inference.GRPCInferenceService/${name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: (message) => Buffer.from(asked.encode(asked.fromObject(message)).finish()),
    requestDeserialize: (bytes) => {
      const costly = costlyIn(asked, bytes);
      // what is thrown here the library tells as an error of the server: whoever answers throws it
      if (costly !== null) return costly as unknown as Message;
      return asked.toObject(asked.decode(bytes), {
        longs: String,
        defaults: true,
        arrays: true,
        objects: true,
        oneofs: true,
      });
    },
    responseSerialize: (message) => Buffer.from(given.encode(given.fromObject(message)).finish()),
    responseDeserialize: (bytes) =>
      given.toObject(given.decode(bytes), { longs: Number, defaults: true, arrays: true }),
  };
}

export const GRPC_SERVICE = {
  ServerLive: method('ServerLive', 'Empty', 'Live'),
  ServerReady: method('ServerReady', 'Empty', 'Ready'),
  ModelReady: method('ModelReady', 'ModelName', 'Ready'),
  ServerMetadata: method('ServerMetadata', 'Empty', 'ServerMetadata'),
  ModelMetadata: method('ModelMetadata', 'ModelName', 'ModelMetadata'),
  ModelInfer: method('ModelInfer', 'InferRequest', 'InferResponse'),
  ModelConfig: method('ModelConfig', 'ModelName', 'ConfigResponse'),
  ModelStatistics: method('ModelStatistics', 'ModelName', 'StatisticsResponse'),
  RepositoryIndex: method('RepositoryIndex', 'IndexRequest', 'IndexResponse'),
  RepositoryModelLoad: method('RepositoryModelLoad', 'RepositoryRequest', 'Empty'),
  RepositoryModelUnload: method('RepositoryModelUnload', 'RepositoryRequest', 'Empty'),
} as const satisfies ServiceDefinition;
