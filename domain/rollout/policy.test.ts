import { expect, test } from 'vitest';
import { checkRolloutPolicy } from './policy.ts';
import { aPolicy } from './rollout-fixtures.ts';

const stage = (weightPercent: number, more: object = {}) => ({
  weightPercent,
  minDurationMs: 10,
  maxDurationMs: 60,
  minCanaryRequests: 100,
  ...more,
});
const guardrail = { metric: 'errors', margin: 0.005, direction: 'increase', required: true };
const approval = { role: 'approver', count: 1, expiresMs: 1_000 };

test('a full policy comes back as it is', () => {
  expect(checkRolloutPolicy(structuredClone(aPolicy()), 'rollout')).toEqual(aPolicy());
});

test('what a project leaves out has a default, and the whole rollout has a bound', () => {
  const policy = checkRolloutPolicy(
    { stages: [stage(5), stage(100, { approval, minCanaryRequests: 0 })], guardrails: [guardrail] },
    'rollout',
  );
  expect(policy).toMatchObject({
    shadow: null,
    onDeadline: 'askHuman',
    alphaRollback: 0.01,
    watch: { durationMs: 86_400_000 },
    maxRolloutMs: 2 * (60 + 1_000),
  });
});

test.each([
  [{ stages: [] }, 'rollout.stages is []; it must be a list of 1 to 100 entries'],
  [
    { stages: [stage(20), stage(5)] },
    'rollout.stages[1].weightPercent is 5; the weights must rise, the stage before has 20',
  ],
  [{ stages: [stage(100), stage(100)] }, 'rollout.stages[1].weightPercent is 100; the weights must rise'],
  [{ stages: [stage(101)] }, 'rollout.stages[0].weightPercent is 101; it must be a number between 0 and 100'],
  [{ stages: [stage(0)] }, 'it must be at least 0.01, one bucket of 10 000'],
  [{ stages: [stage(100)] }, 'without a shadow stage the first stage must leave the champion some traffic'],
  [{ stages: [stage(5, { approval })] }, 'without a shadow stage there is no evidence yet'],
  [
    { stages: [stage(5, { minDurationMs: 61 })] },
    'rollout.stages[0].maxDurationMs is 60; it must be at least minDurationMs, 61',
  ],
  [
    { stages: [stage(5, { approval: { ...approval, count: 0 } })] },
    'rollout.stages[0].approval.count is 0; it must be a whole number of at least 1',
  ],
  [{ guardrails: [] }, 'rollout.guardrails is []'],
  [{ guardrails: [guardrail, guardrail] }, 'rollout.guardrails[1].metric is "errors"; each metric has one guardrail'],
  [{ guardrails: [{ ...guardrail, required: false }] }, 'at least one guardrail must be required'],
  [
    { guardrails: [{ ...guardrail, margin: 0 }] },
    'rollout.guardrails[0].margin is 0; it must be a number strictly between 0 and 1',
  ],
  [{ guardrails: [{ ...guardrail, metric: 'latency' }] }, 'it must be one of errors, slow, positives, score, loss'],
  [{ alphaRollback: 0.5 }, 'rollout.alphaRollback is 0.5'],
  [{ onDeadline: 'promote' }, 'it must be one of hold, rollback, askHuman'],
  [{ maxRolloutMs: 59 }, 'rollout.maxRolloutMs is 59; it must be at least 60'],
  [{ lookEveryMs: 1.5 }, 'it must be a whole number of milliseconds'],
  [{ weights: [5] }, 'rollout.weights is [5]; there is no such field'],
  [
    { shadow: { minRequests: 1, minDurationMs: 0, maxDurationMs: 1, maxErrorRate: 0 } },
    'rollout.shadow.maxErrorRate is 0',
  ],
] as const)('%j is refused with the field, the value and the rule', (overrides, message) => {
  expect(() => checkRolloutPolicy({ stages: [stage(5)], guardrails: [guardrail], ...overrides }, 'rollout')).toThrow(
    message,
  );
});

test('a policy that is no object is refused', () => {
  expect(() => checkRolloutPolicy(null, 'rollout')).toThrow('rollout is null; it must be an object');
});
