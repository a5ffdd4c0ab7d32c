/** Who gets which version, as clients see it: over a socket, by the published vectors, through the stages of two rollouts. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { openRollout } from '../../db/rollouts.ts';
import { rolloutIdOf } from '../../db/rollout-spec.ts';
import { aPolicy } from '../../domain/rollout/rollout-fixtures.ts';
import { linearOnnx } from '../../inference/model/onnx-fixture.ts';
import { createLogger } from '../../platform/logger.ts';
import golden from '../golden/assignment.json' with { type: 'json' };
import { MODEL, registerOnnx, route, spec } from '../setup/parcel-project.ts';
import { serveProject, type ServedProject } from '../setup/served-project.ts';

let served: ServedProject;
let url: string;

beforeAll(async () => {
  served = await serveProject({ spec, logger: createLogger({ service: 'inference', node: 'test', level: 'silent' }) });
  for (const version of [2, 3]) await registerOnnx(served, version, linearOnnx({ weights: [1], bias: version }));
  url = await served.node.app.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(() => served.close());

/** A stage of a version's rollout, which began by a policy with this unit. */
async function stage(version: number, percent: number, unit?: string): Promise<void> {
  const { db } = served.database;
  const rolloutId = rolloutIdOf(MODEL, version);
  const policy = aPolicy(unit === undefined ? {} : { unit });
  const state = { phase: 'canary' } as unknown as Parameters<typeof openRollout>[1]['state'];
  await openRollout(db, { rolloutId, model: MODEL, version, author: 'ada', state, policy, startedAt: 1 });
  await route(served, { canary: version, canaryWeight: percent * 100, salt: rolloutId, rolloutId });
}

/** One at a time may be open. */
async function endRollouts(): Promise<void> {
  await served.database.db.deleteFrom('rollout').execute();
}
beforeEach(endRollouts);

interface Prediction {
  readonly arm: string;
  readonly version: number;
  readonly score: number;
}

async function predict(instances: readonly object[]): Promise<readonly Prediction[]> {
  const response = await fetch(`${url}/v1/models/${MODEL}/predict`, {
    method: 'POST',
    body: JSON.stringify({ instances }),
  });
  expect(response.status).toBe(200);
  return ((await response.json()) as { predictions: Prediction[] }).predictions;
}

const VECTORS = golden.buckets.filter(({ unit }) => unit !== '');

test.each([2, 3])(
  'rollout %d assigns each unit of the published vectors by its bucket, at every weight',
  async (version) => {
    const own = VECTORS.filter(({ salt }) => salt === rolloutIdOf(MODEL, version));
    expect(own.length).toBeGreaterThan(4);
    for (const percent of [3, 5, 20, 60, 96]) {
      await stage(version, percent);
      const answers = await predict(own.map(({ unit }) => ({ unit, customer: 'somebody', kg: 1 })));
      expect(answers.map(({ arm }) => arm)).toEqual(
        own.map(({ bucket }) => (bucket < percent * 100 ? 'canary' : 'champion')),
      );
      // whoever is the canary's is answered by it
      for (const { arm, version: answering, score } of answers)
        expect([answering, score]).toEqual(arm === 'canary' ? [version, 1 + version] : [0, 0.01]);
    }
  },
);

test('from 5 to 20 % the first 5 % stay where they were; another rollout begins with others', async () => {
  const units = Array.from({ length: 900 }, (_, i) => `user-${i}`);
  const canaries = async (): Promise<string[]> => {
    const answers = await predict(units.map((unit) => ({ unit, customer: null, kg: 1 })));
    return units.filter((_, i) => answers[i]!.arm === 'canary');
  };
  await stage(2, 5);
  const first = await canaries();
  await stage(2, 20);
  const second = new Set(await canaries());
  expect(first.length).toBeGreaterThan(15);
  expect(second.size).toBeGreaterThan(2 * first.length);
  expect(first.filter((unit) => !second.has(unit))).toEqual([]);
  await endRollouts();
  await stage(3, 5);
  const others = await canaries();
  expect(others.filter((unit) => !first.includes(unit)).length).toBeGreaterThan(others.length / 2);
});

test('a rollout may name the request field that its units are told by', async () => {
  const [canary, champion] = ['user-1', '鳥'];
  await stage(2, 20, 'customer');
  const asked = [canary, champion].flatMap((customer) => [
    { customer, kg: 1 },
    { customer, kg: 2 },
    // what a request says itself comes first
    { customer, kg: 3, unit: customer === canary ? champion : canary },
  ]);
  expect((await predict(asked)).map(({ arm }) => arm)).toEqual([
    'canary',
    'canary',
    'champion',
    'champion',
    'champion',
    'canary',
  ]);
  const response = await fetch(`${url}/v1/models/${MODEL}/schema`);
  expect(await response.text()).toContain('the value of customer, or the id when left out');

  // a customer that nobody knows is no unit that all unknown ones share
  const unknown = await predict(Array.from({ length: 300 }, (_, i) => ({ id: `p${i}`, customer: null, kg: 1 })));
  expect(new Set(unknown.map(({ arm }) => arm))).toEqual(new Set(['canary', 'champion']));
  await served.node.flush();
  const logged = await served.database.db
    .selectFrom('prediction')
    .select(['unit', 'arm'])
    .distinct()
    .where('unit', 'in', [canary, champion])
    .execute();
  expect(logged).toEqual(expect.arrayContaining([{ unit: canary, arm: 'canary' }]));

  // the next one of the model does not: it is of a rollout, not of the model
  await endRollouts();
  await stage(3, 50);
  const arms = await predict(Array.from({ length: 200 }, () => ({ customer: canary, kg: 1 })));
  expect(new Set(arms.map(({ arm }) => arm))).toEqual(new Set(['canary', 'champion']));
});
