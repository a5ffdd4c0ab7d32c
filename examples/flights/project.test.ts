import { expect, test } from 'vitest';
import { featureNames } from '../../domain/project/spec.ts';
import { flightsProject } from './project.ts';

test('the flights project has twelve features, version 2 two more of another team', () => {
  const [first, second] = flightsProject({ sample: 1 }).featureSets.filter(({ name }) => name === 'delay_features');
  expect(featureNames(first!)).toHaveLength(12);
  expect(featureNames(second!).filter((name) => !featureNames(first!).includes(name))).toEqual([
    'status__mean_delay__2h',
    'status__mean_delay__6h',
  ]);
});

test('a small sample asks for less evidence within wider margins', () => {
  const [full, small] = [1, 0.05].map((sample) => flightsProject({ sample }).models[0]!);
  expect(small!.rollout.shadow!.minRequests).toBeLessThan(full!.rollout.shadow!.minRequests);
  expect(small!.rollout.guardrails[0]!.margin).toBeGreaterThan(full!.rollout.guardrails[0]!.margin);
});
