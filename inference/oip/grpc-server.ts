/** The Open Inference Protocol over gRPC: the same models, rules and sentences as over HTTP. */
import {
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { messageOf, SerinError } from '../../domain/errors.ts';
import { shownValue } from '../../domain/shown-value.ts';
import type { Logger } from '../../platform/logger.ts';
import { takeTrace, type TraceContext, traceparentOf } from '../../platform/trace-context.ts';
import type { Asker, Door, Ticket } from '../admission/admission.ts';
import { NORMAL, priorityOfLevel } from '../admission/priority.ts';
import { errorOfRefusal } from '../admission/refusal.ts';
import {
  type Datatype,
  DATATYPES,
  type JsonReading,
  readBinaryData,
  readJsonData,
  type TensorData,
  textOf,
  writeBinaryData,
  wrongCount,
} from './datatypes.ts';
import {
  checkLoadParameters,
  MESSAGE_LIMIT_BYTES,
  modelConfiguration,
  modelIndex,
  modelMetadata,
  refusal,
  serverMetadata,
  statisticsOf,
  statusOf,
} from './describe.ts';
import { GRPC_SERVICE, type Message } from './grpc-messages.ts';
import {
  type GivenInput,
  matchInputs,
  noClassification,
  outputPosition,
  refuseSharedMemory,
  rowsOf,
  timeoutOf,
} from './infer-request.ts';
import type { Tensor, TensorModel } from './model.ts';
import type { OipDeps } from './routes.ts';

export interface GrpcListener {
  readonly port: number;
  /** Finishes the calls under way. */
  close(): Promise<void>;
}

/** Others wait at the client: one connection does not take all of the memory. */
const MAX_CALLS_PER_CONNECTION = 1_024;

/** @param address `host:port`; port 0 takes a free one @param log of errors that Serin did not throw on purpose */
export async function startGrpcServer(
  deps: OipDeps,
  address: string,
  log: Pick<Logger, 'error'>,
): Promise<GrpcListener> {
  const server = new Server({
    'grpc.max_receive_message_length': MESSAGE_LIMIT_BYTES,
    'grpc.max_send_message_length': MESSAGE_LIMIT_BYTES,
    'grpc.max_concurrent_streams': MAX_CALLS_PER_CONNECTION,
  });
  server.addService(GRPC_SERVICE, implementation(deps, log));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.tryShutdown(() => resolve());
      }),
  };
}

function implementation(deps: OipDeps, log: Pick<Logger, 'error'>): UntypedServiceImplementation {
  const answer = answering(log);
  const { repository, door, isReady, serverVersion, statistics, manage, authorizeOperator } = deps;
  const modelOf = (name: unknown, version: unknown): TensorModel => repository.get(name as string, versionOf(version));
  const managed = (action: 'load' | 'unload') =>
    answer(async ({ model_name, parameters }, { metadata }) => {
      authorizeOperator({ headers: { authorization: metadata.get('authorization')[0]?.toString() } });
      checkLoadParameters(Object.keys(parameters as Message));
      await manage(action, model_name as string);
      return {};
    });
  return {
    ServerLive: answer(() => ({ live: true })),
    ServerReady: answer(() => ({ ready: isReady() })),
    ServerMetadata: answer(() => serverMetadata(serverVersion)),
    ModelReady: answer(({ name, version }) => {
      try {
        modelOf(name, version);
        return { ready: true };
      } catch (error) {
        // also of one there is not: the call asks whether it could be used, and Triton's clients take an error for a broken server
        if (error instanceof SerinError) return { ready: false };
        throw error;
      }
    }),
    ModelMetadata: answer(({ name, version }) => modelMetadata(modelOf(name, version))),
    ModelConfig: answer(({ name, version }) => ({
      config: modelConfiguration(modelOf(name, version), configTypeNumber),
    })),
    ModelStatistics: answer(async ({ name, version }) => {
      const all = await statistics();
      return { model_stats: name === '' ? all : statisticsOf(all, repository, name as string, versionOf(version)) };
    }),
    RepositoryIndex: answer(({ ready }) => ({ models: modelIndex(repository, ready === true) })),
    RepositoryModelLoad: managed('load'),
    RepositoryModelUnload: managed('unload'),
    ModelInfer: answer(async (request, call) => {
      const asker = askerOf(call);
      const ticket = admit(door, call, asker, request['model_name'] as string);
      const model = modelOf(request['model_name'], request['model_version']);
      const inputs = matchInputs(givenInputs(request), model);
      door.charge(asker, rowsOf(model, inputs));
      const outputs = askedOutputs(request['outputs'] as readonly Message[], model);
      const parameters = request['parameters'] as Message;
      const timeoutMs = timeoutOf(numberOf(parameters, 'timeout'));
      const tensors = await model.infer(
        inputs,
        outputs,
        Math.min(ticket.deadlineMs, ticket.arrivedMs + timeoutMs),
        parameters['priority'] === undefined ? ticket.priority : priorityOfLevel(numberOf(parameters, 'priority')),
      );
      return {
        model_name: model.name,
        model_version: model.version,
        id: request['id'],
        outputs: tensors.map(({ datatype, shape }, i) => ({ name: model.outputs[outputs[i]!]!.name, datatype, shape })),
        raw_output_contents: tensors.map(({ datatype, data }: Tensor) => writeBinaryData(datatype, data)),
      };
    }),
  };
}

/** The protocol leaves a version out as empty text. */
function versionOf(version: unknown): string | undefined {
  return (version as string) || undefined;
}

type Call = ServerUnaryCall<Message, Message>;
type Body = (request: Message, call: Call) => Message | Promise<Message>;

function answering(log: Pick<Logger, 'error'>): (body: Body) => handleUnaryCall<Message, Message> {
  return (body) => (call: Call, callback) => {
    void (async () => {
      const trace = traceOf(call);
      try {
        if (call.request instanceof SerinError) throw call.request;
        const message = await body(call.request, call);
        if (trace !== undefined) call.sendMetadata(withTrace(new Metadata(), trace));
        callback(null, message);
      } catch (error) {
        if (!(error instanceof SerinError)) log.error({ err: error, traceId: trace?.traceId }, 'inference failed');
        callback({ code: codeOf(error), details: detailsOf(error), metadata: withTrace(trailersOf(error), trace) });
      }
    })();
  };
}

/** Clients take 8 KiB of headers, and three bytes of them are one of the details in UTF-8. */
const MAX_DETAILS_BYTES = 2_000;

/**
 * Details travel in a header, and a client's names, which they repeat, may be as long as a message. By bytes, since half of a
 * surrogate pair has no form there: the library throws, outside of any call, and the process ends.
 */
function detailsOf(error: unknown): string {
  return Buffer.from(messageOf(error)).subarray(0, MAX_DETAILS_BYTES).toString();
}

/** For clients that retry by themselves (gRFC A6): not before this. */
function trailersOf(error: unknown): Metadata {
  const trailers = new Metadata();
  if (error instanceof SerinError && error.retryable)
    trailers.set('grpc-retry-pushback-ms', String(Math.ceil(error.retryAfterMs)));
  return trailers;
}

/** As over HTTP, where several would be one that is no trace. */
function traceOf({ metadata }: Call): TraceContext | undefined {
  const traceparent = metadata.get('traceparent');
  if (traceparent.length !== 1) return undefined;
  return takeTrace({ traceparent: String(traceparent[0]), tracestate: metadata.get('tracestate').map(String) });
}

function withTrace(metadata: Metadata, trace: TraceContext | undefined): Metadata {
  if (trace !== undefined) metadata.set('traceparent', traceparentOf(trace));
  return metadata;
}

function askerOf(call: Call): Asker {
  const peer = call.getPeer();
  return {
    headers: call.metadata.getMap() as Asker['headers'],
    // each connection comes from another port
    socket: { remoteAddress: peer.slice(0, peer.lastIndexOf(':')) },
  };
}

/** @returns what is known of the call, with the deadline that gRPC carries @throws SerinError OVERLOADED, RATE_LIMITED */
function admit(door: Door, call: Call, asker: Asker, model: string): Ticket {
  const nowMs = performance.now();
  const ticket: Ticket = { arrivedMs: nowMs, deadlineMs: Infinity, priority: NORMAL };
  const refusal = door.admit(ticket, asker, model, nowMs);
  if (refusal !== null) throw errorOfRefusal(refusal);
  ticket.deadlineMs = Math.min(ticket.deadlineMs, nowMs + Number(call.getDeadline()) - Date.now());
  return ticket;
}

function codeOf(error: unknown): status {
  if (!(error instanceof SerinError)) return status.INTERNAL;
  switch (statusOf(error)) {
    case 400:
      return status.INVALID_ARGUMENT;
    case 401:
      return status.UNAUTHENTICATED;
    case 403:
      return status.PERMISSION_DENIED;
    case 404:
      return status.NOT_FOUND;
    case 429:
      return status.RESOURCE_EXHAUSTED;
    case 503:
      return status.UNAVAILABLE;
    default:
      return status.INTERNAL;
  }
}

/** Elements come typed (`contents`), or raw for all inputs of the request together. */
function givenInputs(request: Message): GivenInput[] {
  const inputs = request['inputs'] as readonly Message[];
  const raw = request['raw_input_contents'] as readonly Uint8Array[];
  if (raw.length > 0 && raw.length !== inputs.length)
    throw refusal(`the request has ${inputs.length} inputs, but raw contents of ${raw.length}`);
  return inputs.map((input, i) => {
    const name = input['name'] as string;
    refuseSharedMemory(input['parameters'] as Message, `input ${shownValue(name)}`);
    const bytes = raw[i];
    return {
      name,
      datatype: input['datatype'],
      shape: (input['shape'] as readonly string[]).map(Number),
      data: (datatype, shape, elements) => {
        const contents = input['contents'] as Message | null;
        if (bytes === undefined) return typedData(contents, { name, datatype, shape, elements });
        if (contents !== null && Object.values(contents).some((list) => (list as unknown[]).length > 0))
          throw refusal(`input '${name}' has both typed and raw contents`);
        return readBinaryData(Buffer.from(bytes), datatype, elements, name);
      },
    };
  });
}

const CONTENTS: Readonly<Record<Datatype, string | null>> = {
  BOOL: 'bool_contents',
  UINT8: 'uint_contents',
  UINT16: 'uint_contents',
  UINT32: 'uint_contents',
  UINT64: 'uint64_contents',
  INT8: 'int_contents',
  INT16: 'int_contents',
  INT32: 'int_contents',
  INT64: 'int64_contents',
  // the protocol has no typed contents for it
  FP16: null,
  FP32: 'fp32_contents',
  FP64: 'fp64_contents',
  BYTES: 'bytes_contents',
};

function typedData(contents: Message | null, reading: Omit<JsonReading, 'nullIsNaN'>): TensorData {
  const field = CONTENTS[reading.datatype];
  if (field === null) throw refusal(`input '${reading.name}' is ${reading.datatype}, which is sent as raw contents`);
  for (const other in contents) {
    if (other !== field && (contents[other] as readonly unknown[]).length > 0)
      throw refusal(`input '${reading.name}' is ${reading.datatype}, which is sent as ${field}, not as ${other}`);
  }
  const list = (contents?.[field] ?? []) as readonly unknown[];
  if (list.length !== reading.elements) throw wrongCount(reading, list.length);
  // unlike JSON, protobuf has infinities
  if (reading.datatype === 'FP32') return Float32Array.from(list as number[]);
  if (reading.datatype === 'FP64') return Float64Array.from(list as number[]);
  const data =
    reading.datatype === 'BYTES' ? list.map((bytes, at) => textOf(bytes as Uint8Array, reading.name, at)) : list;
  return readJsonData(data, { ...reading, shape: [reading.elements], nullIsNaN: false });
}

function askedOutputs(outputs: readonly Message[], model: TensorModel): number[] {
  if (outputs.length === 0) return model.outputs.map((_, i) => i);
  const positions: number[] = [];
  for (const { name, parameters } of outputs) {
    const at = outputPosition(name, model, positions);
    refuseSharedMemory(parameters as Message, `output '${name as string}'`);
    if (numberOf(parameters as Message, 'classification') !== 0) throw noClassification(name as string);
    positions.push(at);
  }
  return positions;
}

/** A parameter that is a whole number, or absent: 0. */
function numberOf(parameters: Message, name: string): number {
  const given = parameters[name] as Message | undefined;
  const choice = given?.['parameter_choice'] as string | undefined;
  if (given === undefined || choice === undefined) return 0;
  if (choice === 'int64_param' || choice === 'uint64_param') return Number(given[choice]);
  throw refusal(`the parameter "${name}" is the ${choice} ${shownValue(given[choice])}, expected an int64_param`);
}

/** Triton's enum numbers the types in the order of `DATATYPES`, from 1, with text last. */
function configTypeNumber(datatype: Datatype): number {
  return DATATYPES.indexOf(datatype) + 1;
}
