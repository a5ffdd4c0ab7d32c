import { expect, test } from 'vitest';
import type { AggregateSpec, EntitySpec, FeatureViewSpec, SourceSpec } from '../../domain/project/spec.ts';
import { flightsProject } from '../../examples/flights/project.ts';
import { compileView, compileViewOf } from './compiled-view.ts';

const column = (name: string) => ({ op: 'column', name }) as const;

const SOURCE: SourceSpec = {
  name: 'rides',
  description: '',
  owner: 'o',
  columns: [
    { name: 'driver', type: 'str', nullable: false, pii: false, description: '' },
    { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
    { name: 'minutes', type: 'i64', nullable: true, min: 0, max: 10_000, pii: false, description: '' },
    { name: 'points', type: 'i64', nullable: true, pii: false, description: '' },
    { name: 'fare', type: 'f64', nullable: true, min: 0, max: 100, pii: false, description: '' },
    { name: 'op', type: 'str', nullable: true, pii: false, description: '' },
  ],
  eventAt: 'at',
  zone: null,
  availableAt: column('at'),
  eventId: ['driver', 'at'],
  freshnessSlaSeconds: 1,
};
const ENTITY: EntitySpec = { name: 'driver', keys: [{ name: 'driver', type: 'str' }], description: '' };
const HOUR = { name: '1h', lengthMicros: 3.6e9, hopMicros: 9e8 };

const minutes = (more: Partial<AggregateSpec> = {}): AggregateSpec => ({
  name: 'f',
  fn: 'sum',
  of: column('minutes'),
  where: null,
  windows: [HOUR],
  default: null,
  description: '',
  ...more,
});

function kernelOf(
  feature: AggregateSpec,
  source: Partial<SourceSpec> = {},
  view: Partial<FeatureViewSpec> = {},
): string {
  const spec: FeatureViewSpec = {
    name: 'v',
    version: 1,
    entity: 'driver',
    source: 'rides',
    key: ['driver'],
    features: [feature],
    owner: 'o',
    description: '',
    ...view,
  };
  return compileView(spec, { ...SOURCE, ...source }, ENTITY).kind;
}

test('sums of whole numbers whose declared range keeps them exact are kept in tiles, and counts of rows', () => {
  expect(kernelOf(minutes())).toBe('tiles');
  expect(kernelOf(minutes({ fn: 'max', default: 0 }))).toBe('tiles');
  expect(kernelOf(minutes({ fn: 'count', of: null }))).toBe('tiles');
  expect(kernelOf(minutes({ windows: [{ ...HOUR, hopMicros: null }] }))).toBe('tiles');
  const scaled = { op: 'mul', left: column('minutes'), right: { op: 'literal', value: 60, type: 'i64' } } as const;
  expect(kernelOf(minutes({ of: scaled }))).toBe('tiles');
  expect(kernelOf(minutes({ fn: 'share', of: { op: 'gt', left: column('fare'), right: column('points') } }))).toBe(
    'tiles',
  );
});

test.each([
  ['a double', minutes({ of: column('fare') })],
  ['a whole number without a range', minutes({ of: column('points') })],
  [
    'a product that may leave the range',
    minutes({
      of: {
        op: 'mul',
        left: column('minutes'),
        right: { op: 'mul', left: column('minutes'), right: column('minutes') },
      },
    }),
  ],
  ['another function', minutes({ fn: 'stddev_pop' })],
  ['groups', minutes({ by: column('op') })],
  ['all of the past', minutes({ windows: [{ name: 'ever', lengthMicros: null, hopMicros: null }] })],
  ['an offset', minutes({ windows: [{ name: 'w', lengthMicros: 5, hopMicros: null, offsetMicros: 5 }] })],
  ['the latest value', minutes({ fn: 'latest', windows: [] })],
])('%s is kept as history', (_, feature) => {
  expect(kernelOf(feature)).toBe('history');
});

test('what may be taken back, or is read from just before, is kept as history', () => {
  expect(kernelOf(minutes(), { revisions: 'versions' })).toBe('history');
  expect(kernelOf(minutes(), { revisions: 'none' })).toBe('tiles');
  const operation = { column: 'op', retract: null, tombstone: 'gone' };
  expect(kernelOf(minutes(), { operation })).toBe('history');
  expect(kernelOf(minutes(), {}, { boundary: 'exclusive' })).toBe('history');
});

test('the views of the flights project are kept in tiles, but for reports without a declared range', () => {
  const project = flightsProject({ sample: 1 });
  expect(project.views.map(({ name }) => [name, compileViewOf(project, `${name}@1`).kind])).toEqual([
    ['origin_delays', 'tiles'],
    ['destination_delays', 'tiles'],
    ['route_delays', 'tiles'],
    ['scheduled_delays', 'tiles'],
    ['airport_status_now', 'history'],
  ]);
  expect(() => compileViewOf(project, 'gone@1')).toThrow(expect.objectContaining({ code: 'REFERENCE_MISSING' }));
});
