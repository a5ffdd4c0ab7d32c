import { expect, test, vi } from 'vitest';
import type { VersionSource } from '../model/version-loader.ts';
import { aRoute, aScorer, aVersion } from '../scoring/serving-fixture.ts';
import { RouteTable } from './route-table.ts';

function aTable({ unloadAfterMs = 0 } = {}) {
  const loads: number[] = [];
  const released: number[] = [];
  const bad = new Map<number, string>();
  const held = new Map<number, Promise<void>>();
  const source: VersionSource = {
    async load(model, version) {
      loads.push(version);
      await held.get(version);
      const reason = bad.get(version);
      if (reason !== undefined) throw new Error(reason);
      const scorer = { ...aScorer(() => version), release: async () => void released.push(version) };
      return { served: aVersion(version, scorer, { model }), contract: { latencyBudgetMsP99: 50, logSampleRate: 1 } };
    },
  };
  const table = new RouteTable({ source, unloadAfterMs, onUnloadFailure: () => undefined });
  return { table, loads, released, bad, held };
}

test('a route takes effect when all it refers to is loaded; until then the old one answers', async () => {
  const { table, held } = aTable();
  await table.apply([aRoute({ epoch: 1 })]);
  let open = (): void => undefined;
  held.set(3, new Promise((resolve) => (open = resolve)));
  const applying = table.apply([aRoute({ epoch: 2, canary: 3, canaryWeight: 100 })]);
  await Promise.resolve();
  expect(table.find('delay')).toMatchObject({ route: { epoch: 1 }, canary: null });
  open();
  await applying;
  expect(table.find('delay')).toMatchObject({ route: { epoch: 2 }, canary: { version: 3 } });
});

test('a version that does not load leaves the old route in force, with the reason, until it does', async () => {
  const { table, bad } = aTable();
  await table.apply([aRoute({ epoch: 1 })]);
  bad.set(3, 'the file is truncated');
  await table.apply([aRoute({ epoch: 2, canary: 3, canaryWeight: 100 })]);
  expect(table.find('delay')!.route.epoch).toBe(1);
  expect(table.failures).toEqual([{ model: 'delay', epoch: 2, reason: 'the file is truncated' }]);
  bad.clear();
  await table.apply([aRoute({ epoch: 2, canary: 3, canaryWeight: 100 })]);
  expect(table.find('delay')!.route.epoch).toBe(2);
  expect(table.failures).toEqual([]);
});

test('a rollback to the warm last known good loads nothing, and does not wait for another model', async () => {
  const { table, loads, held } = aTable();
  await table.apply([aRoute({ epoch: 1, champion: 2, lastKnownGood: 1 })]);
  loads.length = 0;
  held.set(9, new Promise(() => undefined));
  void table.apply([
    aRoute({ model: 'other', champion: 9, lastKnownGood: 9 }),
    aRoute({ epoch: 2, champion: 1, lastKnownGood: 1 }),
  ]);
  await vi.waitFor(() => expect(table.find('delay')).toMatchObject({ route: { epoch: 2 }, champion: { version: 1 } }));
  expect(loads).not.toContain(1);
});

test('an older epoch does not undo a newer one', async () => {
  const { table } = aTable();
  await table.apply([aRoute({ epoch: 5, champion: 2 })]);
  await table.apply([aRoute({ epoch: 4, champion: 1 })]);
  expect(table.find('delay')).toMatchObject({ route: { epoch: 5 }, champion: { version: 2 } });
});

test('versions that no route refers to are released, those of the route are not', async () => {
  const { table, released } = aTable();
  await table.apply([aRoute({ epoch: 1, shadow: 3 })]);
  await table.apply([aRoute({ epoch: 2 })]);
  await vi.waitFor(() => expect(released).toEqual([3]));
  await table.apply([aRoute({ epoch: 3, shadow: 3 })]);
  expect(table.find('delay')!.shadow!.version).toBe(3);
});

test('a model without a route is served no more', async () => {
  const { table } = aTable();
  await table.apply([aRoute()]);
  await table.apply([]);
  expect(table.find('delay')).toBeUndefined();
});
