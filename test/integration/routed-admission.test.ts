import { afterEach, expect, test } from 'vitest';
import { GOOD_INSTANCE, GOOD_SCORE, MODEL, PREDICT, type RoutedModel, startRoutedModel } from './oip/routed-model.ts';

let routed: RoutedModel;
afterEach(() => routed.close());

const predict = (headers: Record<string, string> = {}, body = GOOD_INSTANCE): Promise<Response> =>
  fetch(`http://127.0.0.1:${routed.port}${PREDICT}`, { method: 'POST', headers, body });

async function metric(pattern: string): Promise<number> {
  const text = await routed.node.registry.metrics();
  return Number(new RegExp(`^${pattern} (\\S+)$`, 'm').exec(text)?.[1]);
}

test('a prediction that cannot be in time is refused with a problem; its deadline may be the contract’s or the request’s', async () => {
  routed = await startRoutedModel({ serving: { deadlineMs: 30_000 } });
  for (let i = 0; i < 5; i++) {
    const answer = (await (await predict({}, GOOD_INSTANCE.replace('"good"', `"good ${i}"`))).json()) as {
      predictions: [{ score: number }];
    };
    expect(answer.predictions[0].score).toBe(GOOD_SCORE);
  }
  const refused = await predict({ 'x-serin-deadline-ms': '0.000001' });
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
  expect(await refused.json()).toMatchObject({ code: 'OVERLOADED', reason: 'deadline', instance: PREDICT });
  expect(await metric('serin_inference_refused_total\\{reason="deadline",[^}]*\\}')).toBe(1);
  expect(
    await metric(`serin_inference_batch_row_seconds\\{model="${MODEL}",call="predict",[^}]*\\}`),
  ).toBeGreaterThanOrEqual(0);
});

test('a contract that leaves no time refuses what somebody waits for, not what runs in the background', async () => {
  // a millisecond for a thousand instances
  routed = await startRoutedModel({ serving: { deadlineMs: 1 } });
  const instances = Array.from({ length: 1_000 }, (_, i) => ({ ...JSON.parse(GOOD_INSTANCE), id: `${i}` }));
  const statuses = new Set<number>();
  for (let i = 0; i < 5; i++) statuses.add((await predict({}, JSON.stringify({ instances }))).status);
  expect(statuses).toContain(503);
  const background = await predict({ 'x-serin-priority': 'background' }, JSON.stringify({ instances }));
  expect(background.status).toBe(200);
});

test('the instances of a prediction are rows of its client’s rate', async () => {
  // so little that no row is given back between two requests, however slow the machine
  routed = await startRoutedModel({ config: { inferenceClientRate: 0.01, inferenceClientBurst: 3 } });
  const instances = ['a', 'b', 'c'].map((id) => ({ ...JSON.parse(GOOD_INSTANCE), id }));
  expect((await predict({ 'x-serin-client': 'one' }, JSON.stringify({ instances }))).status).toBe(200);
  const refused = await predict({ 'x-serin-client': 'one' });
  expect([refused.status, await refused.json()]).toEqual([429, expect.objectContaining({ code: 'RATE_LIMITED' })]);
  expect((await predict({ 'x-serin-client': 'two' })).status).toBe(200);
});
