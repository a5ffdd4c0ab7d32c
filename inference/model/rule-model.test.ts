import { expect, test } from 'vitest';
import type { Expression } from '../../domain/project/expression.ts';
import { createRuleModel } from './rule-model.ts';

const rate: Expression = { op: 'column', name: 'rate' };

test('a rule reads its features by name and gives NaN where it has no answer', async () => {
  const model = createRuleModel({ op: 'mul', left: rate, right: { op: 'column', name: 'factor' } }, [
    { name: 'factor', type: 'f64' },
    { name: 'rate', type: 'f64' },
  ]);
  expect([...(await model.score(Float64Array.of(2, 0.25, NaN, 0.5), 2))]).toEqual([0.5, NaN]);
});

test('a missing value is null, so that the rule can say what to take instead', async () => {
  const model = createRuleModel({ op: 'coalesce', of: [rate, { op: 'literal', value: 0.2, type: 'f64' }] }, [
    { name: 'rate', type: 'f64' },
  ]);
  expect([...(await model.score(Float64Array.of(NaN), 1))]).toEqual([0.2]);
});

test('a condition scores 1 or 0', async () => {
  const model = createRuleModel({ op: 'gt', left: rate, right: { op: 'literal', value: 0.5, type: 'f64' } }, [
    { name: 'rate', type: 'f64' },
  ]);
  expect([...(await model.score(Float64Array.of(0.6, 0.4), 2))]).toEqual([1, 0]);
});

test('a feature that is a truth value is one again: 1 is true, 0 is false, NaN is null', async () => {
  const isNew: Expression = { op: 'column', name: 'is_new' };
  const model = createRuleModel(
    {
      op: 'coalesce',
      of: [
        { op: 'not', of: isNew },
        { op: 'literal', value: true, type: 'bool' },
      ],
    },
    [{ name: 'is_new', type: 'bool' }],
  );
  expect([...(await model.score(Float64Array.of(1, 0, NaN), 3))]).toEqual([0, 1, 1]);
});
