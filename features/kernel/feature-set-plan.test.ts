import { expect, test } from 'vitest';
import type { Expression } from '../../domain/project/expression.ts';
import { type FeatureSetSpec, type FeatureSpec, PROJECT_FORMAT, type ProjectSpec } from '../../domain/project/spec.ts';
import { compileFeatureSet } from './feature-set-plan.ts';

const column = (name: string): Expression => ({ op: 'column', name });
const number = (value: number): Expression => ({ op: 'literal', value, type: 'f64' });
const derived = (name: string, expression: Expression): FeatureSpec => ({
  kind: 'derived',
  name,
  expression,
  description: '',
});
const fromView = (alias: string, feature: string, window: string): FeatureSpec => ({
  kind: 'view',
  name: `${alias}__${feature}__${window}`,
  alias,
  feature,
  window,
});

function aProject(features: readonly FeatureSpec[], overrides: Partial<FeatureSetSpec> = {}): ProjectSpec {
  return {
    format: PROJECT_FORMAT,
    name: 'p',
    description: '',
    sources: [
      {
        name: 'flights',
        description: '',
        owner: 'o',
        columns: [
          { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
          { name: 'airport', type: 'str', nullable: false, pii: false, description: '' },
        ],
        eventAt: 'at',
        zone: null,
        availableAt: column('at'),
        eventId: ['at'],
        freshnessSlaSeconds: 1,
      },
    ],
    entities: [{ name: 'airport', keys: [{ name: 'airport', type: 'str' }], description: '' }],
    views: [
      {
        name: 'traffic',
        version: 1,
        entity: 'airport',
        source: 'flights',
        key: ['airport'],
        features: [
          {
            name: 'flights',
            fn: 'count',
            of: null,
            where: null,
            windows: [
              { name: '1h', lengthMicros: 3.6e9, hopMicros: null },
              { name: '1d', lengthMicros: 8.64e10, hopMicros: 3.6e9 },
            ],
            default: null,
            description: '',
          },
        ],
        owner: 'o',
        description: '',
      },
    ],
    featureSets: [
      {
        name: 'set',
        version: 1,
        request: [
          { name: 'origin', type: 'str', description: '' },
          { name: 'destination', type: 'str', description: '' },
          { name: 'distance', type: 'f64', description: '' },
        ],
        views: [
          { alias: 'origin', view: 'traffic@1', key: ['origin'] },
          { alias: 'destination', view: 'traffic@1', key: ['destination'] },
        ],
        features,
        description: '',
        ...overrides,
      },
    ],
    spines: [],
    labels: [],
    models: [],
  };
}

test('a view used under two aliases is compiled once, and each alias lands in its own features', () => {
  const plan = compileFeatureSet(
    aProject([
      fromView('destination', 'flights', '1d'),
      fromView('origin', 'flights', '1h'),
      fromView('origin', 'flights', '1d'),
    ]),
    'set@1',
  );
  expect(plan.views.map((view) => view.plan.id)).toEqual(['traffic@1']);
  expect(plan.uses.map(({ alias, outputs, features }) => [alias, [...outputs], [...features]])).toEqual([
    ['origin', [0, 1], [1, 2]],
    ['destination', [1], [0]],
  ]);
});

test('derived features find what they read, in whatever order they are declared', () => {
  const plan = compileFeatureSet(
    aProject([
      derived('twice', { op: 'mul', left: column('share'), right: number(2) }),
      derived('share', { op: 'div', left: column('origin__flights__1h'), right: column('origin__flights__1d') }),
      derived('far', { op: 'gt', left: column('distance'), right: number(100) }),
      derived('hour', { op: 'hourOfDay', of: column('as_of') }),
      fromView('origin', 'flights', '1h'),
      fromView('origin', 'flights', '1d'),
    ]),
    'set@1',
  );
  expect(plan.derivedInputs).toEqual(['distance']);
  const vector = Float64Array.of(-1, NaN, NaN, NaN, NaN, 3, 12);
  plan.derive({ distance: 250 }, 2 * 3.6e9, vector, 1);
  expect([...vector]).toEqual([-1, 0.5, 0.25, 1, 2, 3, 12]);
  vector.set([0], 6);
  plan.derive({ distance: null }, 0, vector, 1);
  expect([...vector]).toEqual([-1, NaN, NaN, NaN, 0, 3, 0]);
});

test.each([
  ['a feature set', aProject([]), 'other@1', 'there are set@1'],
  [
    'a view',
    aProject([], { views: [{ alias: 'a', view: 'gone@2', key: ['origin'] }] }),
    'set@1',
    'there are traffic@1',
  ],
  ['an alias', aProject([fromView('via', 'flights', '1h')]), 'set@1', 'there are origin, destination'],
  ['a window', aProject([fromView('origin', 'flights', '2h')]), 'set@1', 'there are flights over 1h, flights over 1d'],
])('%s that does not exist is named, with those that do', (_, project, featureSet, there) => {
  expect(() => compileFeatureSet(project, featureSet)).toThrow(
    expect.objectContaining({ code: 'REFERENCE_MISSING', message: expect.stringContaining(there) }),
  );
});

test('derived features that need each other are refused', () => {
  const project = aProject([derived('a', column('b')), derived('b', column('a'))]);
  expect(() => compileFeatureSet(project, 'set@1')).toThrow(expect.objectContaining({ code: 'REFERENCE_CYCLE' }));
});

test('a derived condition is a truth value to the features that read it', () => {
  const plan = compileFeatureSet(
    aProject([
      derived('far', { op: 'gt', left: column('distance'), right: number(100) }),
      derived('near', { op: 'not', of: column('far') }),
      derived('unknown', { op: 'isNull', of: column('far') }),
    ]),
    'set@1',
  );
  const vectors = new Float64Array(9);
  for (const [row, distance] of [50, 200, null].entries()) plan.derive({ distance }, 0, vectors, row * 3);
  expect([...vectors]).toEqual([0, 1, 0, 1, 0, 0, NaN, NaN, 1]);
  expect(plan.deriveRow({ distance: 200 }, 0, {})).toEqual([
    ['far', true],
    ['near', false],
    ['unknown', false],
  ]);
});
