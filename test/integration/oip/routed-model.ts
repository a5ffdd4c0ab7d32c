import type { Expression } from '../../../domain/project/expression.ts';
import { PROJECT_FORMAT, type ProjectSpec, type ServingSpec } from '../../../domain/project/spec.ts';
import type { Config } from '../../../platform/config.ts';
import { createLogger } from '../../../platform/logger.ts';
import { serveProject, type ServedProject } from '../../setup/served-project.ts';

export const MODEL = 'delay';
export const PREDICT = `/v1/models/${MODEL}/predict`;

/** A field of each type; the rule answers `distance / 1000`. */
export const GOOD_INSTANCE =
  '{"id":"good","distance":250,"carrier":"AA","stops":1,"night":false,"departs":"2001-06-01T12:00:00Z"}';
export const GOOD_SCORE = 0.25;

const field = (name: string): Expression => ({ op: 'column', name });
const feature = (name: string, expression: Expression) =>
  ({ kind: 'derived', name, expression, description: '' }) as const;

const SPEC = {
  format: PROJECT_FORMAT,
  name: 'flights',
  description: '',
  sources: [],
  entities: [],
  views: [],
  spines: [],
  labels: [],
  featureSets: [
    {
      name: 'trip',
      version: 1,
      description: '',
      request: [
        { name: 'distance', type: 'f64', description: 'Miles between the airports.' },
        { name: 'carrier', type: 'str', description: 'The airline, as its two letters.' },
        { name: 'stops', type: 'i64', description: 'Landings on the way.' },
        { name: 'night', type: 'bool', description: '', pii: true },
        { name: 'departs', type: 'ts', description: 'When it leaves.' },
      ],
      views: [],
      features: [
        feature('miles', field('distance')),
        feature('landings', field('stops')),
        feature('departs_hour', { op: 'hourOfDay', of: field('departs') }),
      ],
    },
  ],
  models: [
    {
      name: MODEL,
      threshold: 0.5,
      latencyBudgetMsP99: 1_000,
      logSampleRate: 1,
      rule: {
        featureSet: 'trip@1',
        expression: { op: 'div', left: field('miles'), right: { op: 'literal', value: 1_000, type: 'f64' } },
      },
    },
  ],
} as unknown as ProjectSpec;

export interface RoutedModel extends ServedProject {
  readonly port: number;
}

export interface RoutedModelOptions {
  readonly serving?: ServingSpec;
  readonly config?: Partial<Config>;
}

/** A routed node that listens, with one model that is answered by its rule. */
export async function startRoutedModel({ serving, config = {} }: RoutedModelOptions = {}): Promise<RoutedModel> {
  const spec = { ...SPEC, models: SPEC.models.map((model) => ({ ...model, ...(serving && { serving }) })) };
  const logger = createLogger({ service: 'inference', node: 'test', level: 'silent' });
  const served = await serveProject({ spec, logger, config });
  const url = await served.node.app.listen({ host: '127.0.0.1', port: 0 });
  return { ...served, port: Number(new URL(url).port) };
}
