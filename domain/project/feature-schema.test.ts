import { expect, test } from 'vitest';
import flights from '../../examples/flights/project.ts';
import { featureFields, modelSignature, requestSchema, rowSchema } from './feature-schema.ts';
import {
  column,
  count,
  days,
  entity,
  featureSet,
  featureView,
  hours,
  latest,
  mean,
  project,
  source,
  window,
} from './authoring.ts';

const events = source('events', {
  description: '',
  owner: 'team',
  columns: { id: column.i64(), at: column.ts(), known: column.ts(), n: column.i64(), ok: column.bool() },
  eventAt: 'at',
  availableAt: (row) => row.known,
  eventId: ['id'],
  freshnessSla: hours(1),
});
const everything = entity('everything', { keys: {}, description: '' });
const view = featureView('v', {
  version: 1,
  entity: everything,
  source: events,
  key: {},
  description: '',
  features: (row) => ({
    count: count({ windows: { '1d': window(days(1)) }, description: 'how many' }),
    mean: mean(row.n, { windows: { '1d': window(days(1)) } }),
    last_n: latest(row.n, { default: -1 }),
    last_ok: latest(row.ok),
    last_at: latest(row.at),
  }),
});
const set = featureSet('s', {
  version: 1,
  description: 'a set',
  request: { when: column.ts({ description: 'asked' }), size: column.i64() },
  views: { all: view.as({}).pick({ count: ['1d'], mean: ['1d'], last_n: true, last_ok: true, last_at: true }) },
  derived: { big: (row) => row.request.size.gt(10) },
});
const spec = project('p', { description: '', models: [], featureSets: [set] });

test('the columns of a vector have the types and nulls of their definitions', () => {
  expect(
    featureFields(spec, 's@1').map(({ name, type, nullable, default: otherwise }) => [name, type, nullable, otherwise]),
  ).toEqual([
    ['all__count__1d', 'i64', false, null],
    ['all__mean__1d', 'f64', true, null],
    ['all__last_n', 'i64', false, -1],
    ['all__last_ok', 'bool', true, null],
    ['all__last_at', 'ts', true, null],
    ['big', 'bool', true, null],
  ]);
});

test('a request has every field, of its type or null, and no other', () => {
  expect(requestSchema(set.spec)).toEqual({
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'request of s@1',
    description: 'a set',
    type: 'object',
    properties: {
      when: { type: ['string', 'null'], format: 'date-time', description: 'asked' },
      size: { type: ['integer', 'null'] },
    },
    required: ['when', 'size'],
    additionalProperties: false,
  });
});

test('a row has every feature, null only where its definition can be', () => {
  const { properties } = rowSchema('s@1', featureFields(spec, 's@1'));
  expect(properties).toEqual({
    all__count__1d: { type: 'integer', description: 'how many' },
    all__mean__1d: { type: ['number', 'null'] },
    all__last_n: { type: 'integer', default: -1 },
    all__last_ok: { type: ['boolean', 'null'] },
    all__last_at: { type: ['string', 'null'], format: 'date-time' },
    big: { type: ['boolean', 'null'] },
  });
});

test('the signature of a model is as wide as its feature set', () => {
  expect(modelSignature(featureFields(flights, 'delay_features@1').length)).toEqual({
    input: { name: 'features', type: 'float32', shape: [null, 12] },
    output: { name: 'score', type: 'float32', shape: [null, 1] },
  });
});

test('a set that is not there is named, with the nearest one', () => {
  expect(() => featureFields(flights, 'delay_feature@1')).toThrow(/did you mean "delay_features@1"/);
});
