/** The shop's project in a database of its own, and a real node that serves it. */
import { getRoute, moveRoute, type RouteTarget } from '../../../db/routes.ts';
import { createToken } from '../../../db/tokens.ts';
import { createLogger } from '../../../platform/logger.ts';
import { serveProject, type ServedProject } from '../../setup/served-project.ts';
import { MODEL, NOW, spec } from './shop.ts';

export const logger = createLogger({ service: 'inference', node: 'test', level: 'silent' });

export interface Prediction {
  readonly predictionId: string;
  readonly score: number;
  readonly rawScore: number;
  readonly label: number;
  readonly class: string;
  readonly version: number;
  readonly arm: string;
  readonly rung: string;
  readonly threshold: number;
  readonly slice: string | null;
  readonly readAt: string;
  readonly features: Readonly<Record<string, { value: number | null; status: string; ageSeconds: number | null }>>;
}

export const anOrder = (overrides: object = {}): object => ({
  customer: 1,
  origin: 'ORD',
  a: 0.2,
  b: 0.4,
  c: 3,
  d: 0.5,
  ...overrides,
});

export const fieldsOf = (order: object): string[] => Object.entries(order).map(([name, value]) => `${name}=${value}`);

export interface Asked {
  readonly status: number;
  readonly problem: { readonly type: string; readonly detail: string; readonly field?: string };
  readonly predictions: readonly Prediction[];
}

export interface ServedShop extends ServedProject {
  readonly tokens: { readonly engineer: string; readonly viewer: string };
  /** With an explanation unless told otherwise. */
  ask(body: object, how?: { headers?: Record<string, string>; explain?: boolean }): Promise<Asked>;
  /** Changes members of the route, and waits for the node to follow. @returns the epoch */
  route(target: Partial<RouteTarget>): Promise<number>;
}

export async function serveShop(): Promise<ServedShop> {
  const served = await serveProject({ spec, logger, at: NOW });
  const { database, node } = served;
  const { db } = database;
  return {
    ...served,
    tokens: {
      engineer: await createToken(db, { principal: 'ada', roles: ['engineer'], at: NOW }),
      viewer: await createToken(db, { principal: 'vic', roles: ['viewer'], at: NOW }),
    },
    async ask(body, { headers = {}, explain = true } = {}) {
      const response = await node.app.inject({
        method: 'POST',
        url: `/v1/models/${MODEL}/predict${explain ? '?explain=features' : ''}`,
        headers,
        payload: body,
      });
      return {
        status: response.statusCode,
        problem: response.json<Asked['problem']>(),
        predictions: response.json<Pick<Asked, 'predictions'>>().predictions,
      };
    },
    async route(target) {
      const standing = await getRoute(db, MODEL);
      const { epoch } = await moveRoute(db, {
        model: MODEL,
        expectedEpoch: standing.epoch,
        target: { ...standing, ...target },
        at: NOW,
        reason: 'test',
      });
      await node.refreshRoutes();
      return epoch;
    },
  };
}
