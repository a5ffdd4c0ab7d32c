import { expect, test } from 'vitest';
import { planRollout } from './plan.ts';
import type { TrafficForecast } from './plan.ts';
import { aPolicy } from './rollout-fixtures.ts';

const traffic: TrafficForecast = {
  requestsPerSecond: 5_000,
  errorRate: 0.01,
  slowRate: 0.1,
  positiveRate: 0.2,
  loss: null,
};

test('with enough traffic every stage is expected to decide, and says when', () => {
  const plan = planRollout(aPolicy(), traffic);
  expect(plan.canDecide).toBe(true);
  expect(plan.stages.map(({ weightPercent }) => weightPercent)).toEqual([5, 20]);
  expect(plan.stages[0]?.expectedCanaryRequests).toBe(15_000);
  // The second stage starts with the evidence of the first, so its least duration is all it needs.
  expect(plan.stages[1]?.decidesAfterMs).toBe(10_000);
  expect(plan.stages[0]?.sentence).toMatch(
    /^Stage 1 \(5 %\): a sound version advances after .* s; by its deadline the canary has 15,000 requests/,
  );
});

test('with too little traffic the plan says that the policy cannot decide', () => {
  const plan = planRollout(aPolicy(), { ...traffic, requestsPerSecond: 2 });
  expect(plan.canDecide).toBe(false);
  expect(plan.shortestMs).toBeNull();
  expect(plan.sentences.at(-1)).toContain('cannot decide');
});

test('without traffic nothing is expected to be decided', () => {
  const plan = planRollout(aPolicy(), { ...traffic, requestsPerSecond: 0 });
  expect(plan.stages.every(({ decidesAfterMs }) => decidesAfterMs === null)).toBe(true);
});

test('a required loss that is never labelled cannot be proven', () => {
  const guardrails = [{ metric: 'loss', margin: 0.01, direction: 'increase', required: true }] as const;
  expect(planRollout(aPolicy({ guardrails }), traffic).canDecide).toBe(false);
});

test('more traffic never takes longer, and finds smaller harm', () => {
  const plans = [3_000, 5_000, 10_000, 30_000].map((requestsPerSecond) =>
    planRollout(aPolicy(), { ...traffic, requestsPerSecond }),
  );
  const times = plans.map(({ stages }) => stages[0]?.decidesAfterMs ?? Infinity);
  const harms = plans.map(({ stages }) => stages[0]?.smallestDetectableHarm.errors ?? Infinity);
  expect(times).toEqual(times.toSorted((a, b) => b - a));
  expect(harms).toEqual(harms.toSorted((a, b) => b - a));
});
