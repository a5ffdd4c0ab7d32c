/** What is streamed into: rides of many customers, into a view of tiles and one of history. */
import type { Expression } from '../../domain/project/expression.ts';
import { type FeatureViewSpec, PROJECT_FORMAT, type ProjectSpec } from '../../domain/project/spec.ts';
import { MICROS_PER_DAY, MICROS_PER_HOUR } from '../../domain/time.ts';

const column = (name: string): Expression => ({ op: 'column', name });
const feature = { where: null, default: null, description: '' } as const;
const HOUR = { name: '1h', lengthMicros: MICROS_PER_HOUR, hopMicros: 5 * 60_000_000 };
const DAY = { name: '24h', lengthMicros: MICROS_PER_DAY, hopMicros: MICROS_PER_HOUR };

const view = (name: string, features: FeatureViewSpec['features'], more: Partial<FeatureViewSpec> = {}) => ({
  name,
  version: 1,
  entity: 'customer',
  source: 'rides',
  key: ['customer'],
  features,
  owner: 'bench',
  description: '',
  ...more,
});

export const STREAMING_PROJECT: ProjectSpec = {
  format: PROJECT_FORMAT,
  name: 'streaming',
  description: '',
  sources: [
    {
      name: 'rides',
      description: '',
      owner: 'bench',
      columns: [
        { name: 'ride', type: 'i64', nullable: false, pii: false, description: '' },
        { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
        { name: 'known', type: 'ts', nullable: false, pii: false, description: '' },
        { name: 'customer', type: 'i64', nullable: false, pii: false, description: '' },
        { name: 'minutes', type: 'i64', nullable: false, min: 0, max: 10_000, pii: false, description: '' },
        { name: 'fare', type: 'f64', nullable: true, pii: false, description: '' },
      ],
      eventAt: 'at',
      zone: null,
      availableAt: column('known'),
      eventId: ['ride'],
      freshnessSlaSeconds: 60,
    },
  ],
  entities: [{ name: 'customer', keys: [{ name: 'customer', type: 'i64' }], description: '' }],
  views: [
    view('activity', [
      { ...feature, name: 'rides', fn: 'count', of: null, windows: [HOUR, DAY] },
      { ...feature, name: 'minutes', fn: 'mean', of: column('minutes'), windows: [HOUR, DAY] },
      { ...feature, name: 'longest', fn: 'max', of: column('minutes'), windows: [DAY] },
    ]),
    view(
      'last_ride',
      [
        { ...feature, name: 'fare', fn: 'latest', of: column('fare'), windows: [] },
        { ...feature, name: 'spent', fn: 'sum', of: column('fare'), windows: [DAY] },
      ],
      { ttlMicros: 7 * MICROS_PER_DAY },
    ),
  ],
  featureSets: [
    {
      name: 'customer',
      version: 1,
      description: '',
      request: [{ name: 'customer', type: 'i64', description: '' }],
      views: [
        { alias: 'activity', view: 'activity@1', key: ['customer'] },
        { alias: 'last', view: 'last_ride@1', key: ['customer'] },
      ],
      features: [
        { kind: 'view', name: 'rides', alias: 'activity', feature: 'rides', window: '24h' },
        { kind: 'view', name: 'fare', alias: 'last', feature: 'fare', window: null },
        { kind: 'view', name: 'spent', alias: 'last', feature: 'spent', window: '24h' },
      ],
    },
  ],
  spines: [],
  labels: [],
  models: [],
};
