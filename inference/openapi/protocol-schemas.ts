/** The messages of the Open Inference Protocol v2 and of Triton's extensions that Serin has, as JSON Schema (draft 2020-12). */
import { Type } from 'typebox';
import { DATATYPES } from '../oip/datatypes.ts';

const Text = Type.String();
const Count = Type.Integer({ minimum: 0 });

/** What a parameter may be; each name has its own meaning. */
const Parameters = Type.Object(
  {},
  {
    additionalProperties: Type.Union([Type.String(), Type.Number(), Type.Boolean()]),
    description: 'By name: texts, numbers and booleans.',
  },
);
const Datatype = Type.Enum([...DATATYPES], { description: 'The datatype of the elements; BYTES is text.' });
const Data = Type.Array(Type.Unknown(), {
  description:
    'The elements, flat in row-major order or nested as the shape says. Integers beyond 2^53 are texts, NaN in answers is null.',
});

const InferRequest = Type.Object(
  {
    id: Type.Optional(Type.String({ description: 'Comes back in the answer.' })),
    parameters: Type.Optional(Parameters),
    inputs: Type.Array(
      Type.Object({
        name: Text,
        datatype: Datatype,
        shape: Type.Array(Count),
        parameters: Type.Optional(Parameters),
        data: Type.Optional(Data),
      }),
      { description: 'One tensor for each input of the model.' },
    ),
    outputs: Type.Optional(
      Type.Array(Type.Object({ name: Text, parameters: Type.Optional(Parameters) }), {
        description: 'Which outputs, in which order; left out, all of them.',
      }),
    ),
  },
  { description: 'See `GET /v1/models/{model}/schema` for what one model takes.' },
);

export const InferResponse = Type.Object({
  model_name: Text,
  model_version: Text,
  id: Type.Optional(Text),
  parameters: Type.Optional(Parameters),
  outputs: Type.Array(
    Type.Object({
      name: Text,
      datatype: Datatype,
      shape: Type.Array(Count),
      parameters: Type.Optional(Parameters),
      data: Type.Optional(Data),
    }),
  ),
});

export const ProtocolError = Type.Object({ error: Type.String({ description: 'What is wrong, and the rule.' }) });

const Live = Type.Object({ live: Type.Boolean() });
const Ready = Type.Object({ ready: Type.Boolean() });
const ModelReady = Type.Object({ name: Text, ready: Type.Boolean() });

const ServerMetadata = Type.Object({
  name: Text,
  version: Text,
  extensions: Type.Array(Text),
});

const TensorMetadata = Type.Object({
  name: Text,
  datatype: Datatype,
  shape: Type.Array(Type.Integer({ minimum: -1 }), { description: '−1: any size.' }),
});
const ModelMetadata = Type.Object({
  name: Text,
  versions: Type.Array(Text),
  platform: Text,
  inputs: Type.Array(TensorMetadata),
  outputs: Type.Array(TensorMetadata),
});

const ConfigurationTensor = Type.Object({
  name: Text,
  data_type: Type.String({ pattern: '^TYPE_' }),
  dims: Type.Array(Type.Integer({ minimum: -1 }), { description: 'Without the batch.' }),
});
const ModelConfiguration = Type.Object({
  name: Text,
  platform: Text,
  backend: Text,
  max_batch_size: Type.Integer({ minimum: 0, description: '0: the model has no batch dimension.' }),
  version_policy: Type.Object({}),
  input: Type.Array(ConfigurationTensor),
  output: Type.Array(ConfigurationTensor),
  instance_group: Type.Array(Type.Object({ name: Text, kind: Text, count: Count })),
  default_model_filename: Text,
});

const Durations = Type.Object({ count: Count, ns: Count });
const ModelStatistics = Type.Object({
  model_stats: Type.Array(
    Type.Object({
      name: Text,
      version: Text,
      last_inference: Type.Integer({ minimum: 0, description: 'Milliseconds since the epoch; 0: none yet.' }),
      inference_count: Type.Integer({ minimum: 0, description: 'Rows.' }),
      execution_count: Type.Integer({ minimum: 0, description: 'Runs of the model.' }),
      inference_stats: Type.Object({
        success: Durations,
        fail: Durations,
        queue: Durations,
        compute_input: Durations,
        compute_infer: Durations,
        compute_output: Durations,
        cache_hit: Durations,
        cache_miss: Durations,
      }),
      batch_stats: Type.Array(
        Type.Object({
          batch_size: Count,
          compute_input: Durations,
          compute_infer: Durations,
          compute_output: Durations,
        }),
      ),
    }),
  ),
});

const RepositoryIndexRequest = Type.Object({
  ready: Type.Optional(Type.Boolean({ description: 'Only what can be asked.' })),
});
const RepositoryIndex = Type.Array(
  Type.Object({
    name: Text,
    version: Text,
    state: Type.Enum(['READY', 'UNAVAILABLE', 'LOADING']),
    reason: Text,
  }),
);
const RepositoryRequest = Type.Object({ parameters: Type.Optional(Parameters) });
const Nothing = Type.Object({}, { additionalProperties: false });

/** By the names they have in the description of the server. */
export const PROTOCOL_SCHEMAS = {
  InferRequest,
  InferResponse,
  ProtocolError,
  Live,
  Ready,
  ModelReady,
  ServerMetadata,
  ModelMetadata,
  ModelConfiguration,
  ModelStatistics,
  RepositoryIndexRequest,
  RepositoryIndex,
  RepositoryRequest,
  Nothing,
};
