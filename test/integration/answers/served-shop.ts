/** The shop's project in a database of its own, and a real node that serves it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { applyProject } from '../../../db/apply-project.ts';
import { connectDatabase, type Database } from '../../../db/database.ts';
import { getRoute, moveRoute, type RouteTarget } from '../../../db/routes.ts';
import { createToken } from '../../../db/tokens.ts';
import { type Features, openFeatures } from '../../../inference/process/open-features.ts';
import { startRoutedNode } from '../../../inference/process/routed-node.ts';
import type { ServingNode } from '../../../inference/process/serving-node.ts';
import { createLogger } from '../../../platform/logger.ts';
import { createTestDatabase } from '../../setup/test-database.ts';
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

export interface ServedShop {
  readonly folder: string;
  readonly database: Database;
  readonly features: Features;
  readonly node: ServingNode;
  readonly tokens: { readonly engineer: string; readonly viewer: string };
  /** With an explanation unless told otherwise. */
  ask(body: object, how?: { headers?: Record<string, string>; explain?: boolean }): Promise<Asked>;
  /** Changes members of the route, and waits for the node to follow. @returns the epoch */
  route(target: Partial<RouteTarget>): Promise<number>;
  close(): Promise<void>;
}

export async function serveShop(): Promise<ServedShop> {
  const folder = await mkdtemp(join(tmpdir(), 'serin-answers-'));
  const databaseUrl = await createTestDatabase();
  const database = connectDatabase(databaseUrl, { name: 'test', max: 4 });
  const { db } = database;
  await applyProject(db, { spec, bundleSha256: null, by: 'ada', at: NOW });
  const features = openFeatures(databaseUrl);
  const node = await startRoutedNode({
    config: {
      databaseUrl,
      blobUrl: pathToFileURL(folder).href,
      nodeId: 'node-1',
      inferenceHost: '127.0.0.1',
      inferencePort: 0,
    },
    logger,
    inputOf: features.inputOf,
    store: features.store,
  });
  return {
    folder,
    database,
    features,
    node,
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
    async close() {
      await node.close();
      await features.close();
      await database.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
