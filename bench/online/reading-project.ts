/** What is read: latest values of one entity, from as many views as are asked for. */
import { type FeatureViewSpec, PROJECT_FORMAT, type ProjectSpec } from '../../domain/project/spec.ts';
import { MICROS_PER_DAY } from '../../domain/time.ts';
import { latestOf } from '../features/latest-of.ts';

export const FEATURE_SET = 'all@1';

/** `views` views `view0@1`… of one source each (`source0`…), with `features` columns `f0`… */
export function readingProject(views: number, features: number): ProjectSpec {
  const numbers = Array.from({ length: features }, (_, i) => `f${i}`);
  const each = Array.from({ length: views }, (_, i) => i);
  return {
    format: PROJECT_FORMAT,
    name: 'reading',
    description: '',
    sources: each.map((i) => ({
      name: `source${i}`,
      description: '',
      owner: 'bench',
      columns: [
        { name: 'row', type: 'i64', nullable: false, pii: false, description: '' },
        { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
        { name: 'customer', type: 'i64', nullable: false, pii: false, description: '' },
        ...numbers.map((name) => ({ name, type: 'f64' as const, nullable: false, pii: false, description: '' })),
      ],
      eventAt: 'at',
      zone: null,
      availableAt: { op: 'column', name: 'at' },
      eventId: ['row'],
      freshnessSlaSeconds: 60,
    })),
    entities: [{ name: 'customer', keys: [{ name: 'customer', type: 'i64' }], description: '' }],
    views: each.map((i): FeatureViewSpec => ({
      name: `view${i}`,
      version: 1,
      entity: 'customer',
      source: `source${i}`,
      key: ['customer'],
      features: numbers.map(latestOf),
      owner: 'bench',
      description: '',
      boundary: 'exclusive',
      ttlMicros: 30 * MICROS_PER_DAY,
    })),
    featureSets: [
      {
        name: 'all',
        version: 1,
        description: '',
        request: [{ name: 'customer', type: 'i64', description: '' }],
        views: each.map((i) => ({ alias: `view${i}`, view: `view${i}@1`, key: ['customer'] })),
        features: each.flatMap((i) =>
          numbers.map((name) => ({
            kind: 'view' as const,
            name: `view${i}__${name}`,
            alias: `view${i}`,
            feature: name,
            window: null,
          })),
        ),
      },
    ],
    spines: [],
    labels: [],
    models: [],
  };
}

/** Feature `f` of view `v` of a customer, the same for every contender. */
export function valueOf(view: number, feature: number, customer: number): number {
  return view * 1_000_000 + feature * 100_000 + customer + 0.25;
}
