import { expect, test } from 'vitest';
import { SerinError } from '../../domain/errors.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import { aScorer, aVersion, anEntry, anInput } from '../scoring/serving-fixture.ts';
import { readInstances } from './predict-request.ts';

const NOW = 1_790_000_000_000_000;
const entry: RouteEntry = await anEntry({
  champion: aVersion(
    2,
    aScorer(() => 0),
  ),
  shadow: aVersion(
    3,
    aScorer(() => 0),
    {
      featureSet: 'features@2',
      input: { ...anInput, request: [...anInput.request, { name: 'z', type: 'f64', description: '' }] },
    },
  ),
});

test('one instance may stand for a list of one', () => {
  const instance = { id: 'a', unit: 'u', asOf: '2001-06-01T12:00:00Z', x: 1 };
  expect(readInstances(instance, entry, NOW)).toEqual(readInstances({ instances: [instance] }, entry, NOW));
  expect(readInstances(instance, entry, NOW)).toEqual([
    {
      predictionId: 'a',
      unit: 'u',
      asOf: 991_396_800_000_000,
      isReplay: true,
      fields: { x: 1 },
      request: { x: 1, y: null, key: null },
    },
  ]);
});

test('what is left out: a new id, the id as unit, now', () => {
  const [instance] = readInstances({ x: 1 }, entry, NOW);
  expect(instance).toMatchObject({ unit: instance!.predictionId, asOf: NOW, isReplay: false });
  expect(instance!.predictionId).toHaveLength(36);
});

test.each([
  [{ key: 'a customer' }, 'a customer'],
  [{ key: 'a customer', unit: 'u' }, 'u'],
  [{ key: null }, 'p'],
  [{ key: '' }, 'p'],
  [{}, 'p'],
])('where the rollout names a field, its value is the unit: %j', (fields, unit) => {
  const route = { ...entry.route, unit: 'key' };
  expect(readInstances({ id: 'p', x: 1, ...fields }, { ...entry, route }, NOW)).toMatchObject([{ unit }]);
});

test('a field that another version of the route reads is passed on', () => {
  const [instance] = readInstances({ x: 1, z: 5 }, entry, NOW);
  expect(instance).toMatchObject({ fields: { x: 1, z: 5 }, request: { x: 1 } });
});

test('who is to answer is said for all instances', () => {
  const [first, second] = readInstances({ instances: [{ x: 1 }, { x: 2 }] }, entry, NOW, { version: 3 });
  expect([first!.override, second!.override]).toEqual([{ version: 3 }, { version: 3 }]);
  expect(readInstances({ x: 1 }, entry, NOW)[0]).not.toHaveProperty('override');
});

test.each<[unknown, string, string]>([
  [null, '', 'the body must be an object'],
  [[{ x: 1 }], '', 'the body must be an object'],
  [{ instances: [{ x: 1 }], asof: 'now' }, 'asof', 'asof is "now": beside instances there is nothing'],
  [{ instances: {} }, 'instances', 'must be a list of instances'],
  [{ instances: [] }, 'instances', 'instances holds 0: must hold 1 to 1000 of them'],
  [{ instances: [{ x: 1 }, 5] }, 'instances/1', 'instances/1 is 5: must be an object'],
  [{ instances: [{ x: 1 }, { x: 'one' }] }, 'instances/1/x', 'instances/1: x must be a number'],
  [{ x: 'one' }, 'x', 'x must be a number'],
  [{ x: 1, w: 2 }, 'w', 'w is 2: it is not a field of features@1; an instance has x, y, key, id, unit, asOf'],
  [{ x: 1, asOf: '2001-06-01T12:00:00' }, 'asOf', 'asOf is "2001-06-01T12:00:00": a time needs Z or an offset'],
  [{ x: 1, asOf: 991_396_800 }, 'asOf', 'must be RFC 3339 text'],
  [{ x: 1, unit: 5 }, 'unit', 'unit is 5: must be a text'],
  [{ x: 1, id: 'a\u0000b' }, 'id', 'without control characters'],
  [{ x: 1, id: '\ud800' }, 'id', 'well-formed'],
  [{ x: 1, id: '🛫\u0000' }, 'id', 'without control characters'],
  [{ instances: [{ id: 'a' }, { id: 'a' }] }, 'instances/1/id', 'is the id of another instance'],
])('%j is refused by %s', (body, field, detail) => {
  const refusal = (() => {
    try {
      return readInstances(body, entry, NOW);
    } catch (error) {
      return error;
    }
  })();
  expect(refusal).toBeInstanceOf(SerinError);
  expect(refusal).toMatchObject({ code: 'INPUT_INVALID', status: 400 });
  expect((refusal as SerinError).message).toContain(detail);
  if (field !== '') expect((refusal as SerinError).fields['field']).toBe(field);
});
