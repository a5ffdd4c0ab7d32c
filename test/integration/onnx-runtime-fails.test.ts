/** Versions whose runs ONNX Runtime itself ends with an error, in a node behind a socket: nothing of the way there is replaced. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fussyOnnx } from '../../inference/model/onnx-fixture.ts';
import { createLogger } from '../../platform/logger.ts';
import { MODEL, registerOnnx, route, spec } from '../setup/parcel-project.ts';
import { serveProject, type ServedProject } from '../setup/served-project.ts';

/** What fussyOnnx takes, and what it fails on. */
const [FINE, POISON] = [0.25, 40];

let served: ServedProject;
let url: string;

beforeEach(async () => {
  served = await serveProject({ spec, logger: createLogger({ service: 'inference', node: 'test', level: 'silent' }) });
  for (const version of [1, 2, 3]) await registerOnnx(served, version, fussyOnnx({ width: 1 }));
  await route(served, { champion: 2, lastKnownGood: 1 });
  url = await served.node.app.listen({ host: '127.0.0.1', port: 0 });
});
afterEach(() => served.close());

interface Prediction {
  readonly predictionId: string;
  readonly score: number;
  readonly version: number;
  readonly arm: string;
  readonly rung: string;
  readonly reason?: string;
  readonly error?: string | null;
}

async function predict(body: object, query = ''): Promise<{ status: number; predictions: readonly Prediction[] }> {
  const response = await fetch(`${url}/v1/models/${MODEL}/predict${query}`, {
    method: 'POST',
    body: JSON.stringify(body),
  });
  const { predictions = [] } = (await response.json()) as { predictions?: Prediction[] };
  return { status: response.status, predictions };
}

const parcel = (id: string, kg: number) => ({ id, customer: 'somebody', kg });

test('a row that ONNX Runtime fails on fails alone; who is batched with it is answered by the champion', async () => {
  const { status, predictions } = await predict(
    { instances: [parcel('a', FINE), parcel('b', POISON), parcel('c', FINE)] },
    '?explain=features',
  );
  expect(status).toBe(200);
  expect(predictions.map(({ version, rung, score, reason }) => [version, rung, score, reason])).toEqual([
    [2, 'champion', 0.5, undefined],
    [0, 'rule', 0.4, 'error'],
    [2, 'champion', 0.5, undefined],
  ]);
  expect(predictions[1]!.error).toMatch(/^v2: .*indices element out of data bounds/);
});

test('with every run failing, of canary, champion and last known good, every request is answered by the rule and says why', async () => {
  await route(served, { canary: 3, canaryWeight: 5_000, salt: 'rollout/x/3' });
  const answers = await Promise.all(Array.from({ length: 500 }, (_, i) => predict(parcel(`p${i}`, POISON))));
  expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
  const predictions = answers.flatMap((answer) => answer.predictions);
  expect(predictions).toHaveLength(500);
  for (const each of predictions) expect(each).toMatchObject({ version: 0, rung: 'rule', score: 0.4 });
  expect(new Set(predictions.map(({ arm }) => arm))).toEqual(new Set(['champion', 'canary']));
  expect(new Set(predictions.map(({ reason }) => reason))).toEqual(new Set(['error', 'circuit_open']));
  const page = await served.node.registry.metrics();
  for (const [part, version, arm, rung] of [
    ['queue', 3, 'canary', 'canary'],
    ['feature', 2, 'champion', 'champion'],
    ['compute', 3, 'canary', 'canary'],
    ['compute', 2, 'canary', 'champion'],
    ['compute', 1, 'champion', 'last_known_good'],
    ['compute', 0, 'champion', 'rule'],
    ['write', 0, 'canary', 'rule'],
    ['request', 0, 'champion', 'rule'],
  ] as const) {
    const labels = `model="${MODEL}",version="${version}",arm="${arm}",rung="${rung}"`;
    expect(page).toMatch(new RegExp(`^serin_inference_${part}_seconds_count\\{${labels}[^}]*\\} [1-9]`, 'm'));
  }
  // the tensors of the Open Inference Protocol have no ladder: their client learns of the error
  const infer = await fetch(`${url}/v2/models/${MODEL}/infer`, {
    method: 'POST',
    body: JSON.stringify({ inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 1], data: [POISON] }] }),
  });
  expect([infer.ok, await infer.text()]).toEqual([false, expect.stringContaining('out of data bounds')]);
});
