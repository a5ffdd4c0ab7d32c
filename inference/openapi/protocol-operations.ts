import type { ModelRepository, TensorModel } from '../oip/model.ts';
import type { JsonSchema } from './model-schema.ts';
import { ADMISSION_HEADERS, HEADER_LENGTH, json, type Operation, ref } from './operations.ts';
import { tensorExample } from './tensor-schema.ts';

/** Models whose requests are shown as examples. */
const MAX_EXAMPLES = 5;
const MODEL_PATHS = ['/v2/models/{model}', '/v2/models/{model}/versions/{version}'] as const;

export function protocolOperations(repository: Pick<ModelRepository, 'models'>): Operation[] {
  const health = 'Health and metadata';
  const infer = 'Inference';
  const management = 'Repository';
  const get = (path: string, tag: string, summary: string, schema: string, errors: readonly number[]): Operation => ({
    method: 'get',
    path,
    tag,
    summary,
    answer: { description: summary, content: json({ schema: ref(schema) }) },
    errors,
  });
  return [
    get('/v2', health, 'The server and its extensions', 'ServerMetadata', []),
    get('/v2/health/live', health, 'Whether the server answers', 'Live', []),
    { ...get('/v2/health/ready', health, 'Whether models can be asked', 'Ready', []), answersUnready: true },
    get('/v2/models/stats', health, 'Counters and durations of all models', 'ModelStatistics', [503]),
    ...MODEL_PATHS.flatMap((path): Operation[] => [
      get(path, health, 'What the model takes and gives', 'ModelMetadata', [404, 503]),
      get(`${path}/config`, health, 'The model as Triton’s configuration', 'ModelConfiguration', [404, 503]),
      get(`${path}/ready`, health, 'Whether the model can be asked', 'ModelReady', [404, 503]),
      get(`${path}/stats`, health, 'Counters and durations of the model', 'ModelStatistics', [404, 503]),
      {
        method: 'post',
        path: `${path}/infer`,
        tag: infer,
        summary: 'Runs the model on tensors',
        description:
          'JSON, or JSON with tensors as bytes behind it. The content type is not looked at. Bodies may be compressed by gzip or deflate, and are up to 64 MiB, unpacked too.',
        parameters: [HEADER_LENGTH, ...ADMISSION_HEADERS],
        body: {
          required: true,
          content: {
            ...json({ schema: ref('InferRequest'), examples: examples(repository.models(), path) }),
            'application/octet-stream': {},
          },
        },
        answer: {
          description: 'The outputs; those that were asked for as binary data lie behind the JSON.',
          content: { ...json({ schema: ref('InferResponse') }), 'application/octet-stream': {} },
        },
        errors: [404, 429, 500, 503],
      },
    ]),
    {
      method: 'post',
      path: '/v2/repository/index',
      tag: management,
      summary: 'The models and their states',
      body: { required: false, content: json({ schema: ref('RepositoryIndexRequest'), example: { ready: true } }) },
      answer: { description: 'One entry for each version.', content: json({ schema: ref('RepositoryIndex') }) },
      errors: [],
    },
    ...(['load', 'unload'] as const).map((action): Operation => ({
      method: 'post',
      path: `/v2/repository/models/{model}/${action}`,
      tag: management,
      summary: action === 'load' ? 'Loads a model anew from its file' : 'Takes a model out of memory',
      description: 'For plain files. What follows the routes is refused, with 400.',
      body: { required: false, content: json({ schema: ref('RepositoryRequest'), example: {} }) },
      answer: { description: 'Done, in all processes behind the port.', content: json({ schema: ref('Nothing') }) },
      errors: [401, 403, 404, 503],
      secured: true,
    })),
  ];
}

/** Of the version of each model that answers where none is named; others may take other tensors. */
function examples(models: readonly TensorModel[], path: string): JsonSchema {
  const answering = new Map<string, TensorModel>();
  for (const model of models) if (!answering.has(model.name)) answering.set(model.name, model);
  const ofVersion = ({ version }: TensorModel): string => (path.includes('{version}') ? `version ${version} of ` : '');
  return Object.fromEntries(
    [...answering.values()]
      .slice(0, MAX_EXAMPLES)
      .map((model) => [
        model.name,
        { summary: `for ${ofVersion(model)}the model ${model.name}`, value: tensorExample(model) },
      ]),
  );
}
