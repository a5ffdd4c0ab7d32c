import type { RouteEntry } from '../routing/route-entry.ts';
import { ADMISSION_HEADERS, json, type Operation, ref, TESTER_HEADERS } from './operations.ts';
import { predictSchema } from './predict-schema.ts';

const MAX_EXAMPLES = 5;
const PRODUCT = 'Predictions';
const DESCRIPTION = 'This description';

/** Of every server of the tier. */
export function commonOperations(model: string): Operation[] {
  return [
    {
      method: 'get',
      path: '/v1/models',
      tag: PRODUCT,
      summary: 'The models of this node',
      answer: {
        description: 'What is served, and from what.',
        content: json({
          schema: {
            type: 'object',
            required: ['models'],
            properties: { models: { type: 'array', items: ref(model) } },
          },
        }),
      },
      errors: [],
    },
    {
      method: 'get',
      path: '/v1/models/{model}/schema',
      tag: PRODUCT,
      summary: 'What one model takes and gives, as JSON Schema with an example',
      answer: { description: 'Of the version that serves.', content: json({ schema: ref('ModelSchema') }) },
      errors: [404, 503],
    },
    {
      method: 'get',
      path: '/openapi.json',
      tag: DESCRIPTION,
      summary: 'This description, as OpenAPI 3.1',
      answer: {
        description: 'With examples of the models that are served.',
        content: json({ schema: { type: 'object' } }),
      },
      errors: [],
    },
    {
      method: 'get',
      path: '/docs',
      tag: DESCRIPTION,
      summary: 'This description, to read and try',
      answer: {
        description: 'A page that needs no other server.',
        content: { 'text/html': { schema: { type: 'string' } } },
      },
      errors: [],
    },
    {
      method: 'get',
      path: '/health/live',
      tag: DESCRIPTION,
      summary: 'Whether the process answers',
      answer: { description: 'It does.', content: json({ schema: ref('Health') }) },
      errors: [],
    },
    {
      method: 'get',
      path: '/health/ready',
      tag: DESCRIPTION,
      summary: 'Whether models can be asked, and what is missing',
      answer: { description: 'The checks by their names.', content: json({ schema: ref('Health') }) },
      errors: [],
      answersUnready: true,
    },
    {
      method: 'get',
      path: '/metrics',
      tag: DESCRIPTION,
      summary: 'Metrics for Prometheus',
      answer: { description: 'Of this process.', content: { 'text/plain': { schema: { type: 'string' } } } },
      errors: [],
    },
  ];
}

/** Of a server that follows the routes. */
export function routedOperations(entries: ReadonlyMap<string, RouteEntry>): Operation[] {
  const examples = [...entries.values()].slice(0, MAX_EXAMPLES).map((entry) => {
    const { model, example } = predictSchema(entry);
    return [model, { summary: `for the model ${model}`, value: { instances: [example] } }] as const;
  });
  return [
    {
      method: 'post',
      path: '/v1/models/{model}/predict',
      tag: PRODUCT,
      summary: 'Answers entities: features are read by their keys',
      parameters: [
        {
          name: 'explain',
          in: 'query',
          required: false,
          description: 'Adds the features the model saw, their statuses and ages.',
          schema: { enum: ['features'] },
        },
        ...ADMISSION_HEADERS,
        ...TESTER_HEADERS,
      ],
      body: {
        required: true,
        content: json({ schema: ref('PredictRequest'), examples: Object.fromEntries(examples) }),
      },
      answer: { description: 'One prediction per instance.', content: json({ schema: ref('PredictResponse') }) },
      errors: [401, 403, 404, 409, 429, 500, 503],
      secured: true,
    },
    {
      method: 'get',
      path: '/v1/models/{model}',
      tag: PRODUCT,
      summary: 'The route, the contract and the versions of one model',
      answer: { description: 'As this node serves it.', content: json({ schema: ref('RoutedModel') }) },
      errors: [404],
    },
    {
      method: 'get',
      path: '/v1/predictions/{id}',
      tag: PRODUCT,
      summary: 'What was answered under an id, with the features it was answered on',
      description: 'Every answer of a canary, a shadow or a lower rung is logged; of the champion’s a sample.',
      answer: { description: 'The answers logged under the id.', content: json({ schema: ref('LoggedPredictions') }) },
      errors: [404, 500, 503],
    },
  ];
}
