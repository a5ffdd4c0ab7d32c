import { expect, test } from 'vitest';
import { eventually } from '../../test/setup/eventually.ts';
import type { ModelReport } from '../model/model-report.ts';
import type { VersionSource } from '../model/version-loader.ts';
import { aRoute, aScorer, aVersion } from '../scoring/serving-fixture.ts';
import { RouteTable } from './route-table.ts';

function aReport(memoryBytes: number): ModelReport {
  const shape = { inputs: [], outputs: [], batched: true };
  return { ...shape, runner: 'trees', why: '', fileBytes: 0, memoryBytes, loadMs: 0, goldenRows: 0 };
}

function aTable({ unloadAfterMs = 0, memoryBytes = null as number | null, bytes = (_: number): number => 0 } = {}) {
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
      const report = aReport(bytes(version));
      const scorer = { ...aScorer(() => version), report, release: async () => void released.push(version) };
      return { served: aVersion(version, scorer, { model }), contract: { latencyBudgetMsP99: 50, logSampleRate: 1 } };
    },
  };
  const table = new RouteTable({
    source,
    unloadAfterMs: () => unloadAfterMs,
    memoryBytes,
    onUnloadFailure: () => undefined,
  });
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
  await expect.poll(() => table.find('delay')).toMatchObject({ route: { epoch: 2 }, champion: { version: 1 } });
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
  await expect.poll(() => released).toEqual([3]);
  await table.apply([aRoute({ epoch: 3, shadow: 3 })]);
  expect(table.find('delay')!.shadow!.version).toBe(3);
});

test('a model without a route is served no more', async () => {
  const { table } = aTable();
  await table.apply([aRoute()]);
  await table.apply([]);
  expect(table.find('delay')).toBeUndefined();
});

/** 100 bytes a version, the rule none. */
const hundred = (version: number): number => (version === 0 ? 0 : 100);
async function askUntilLoaded(table: RouteTable, version: number) {
  expect(() => table.byNumber('delay', version)).toThrow(`version ${version} of "delay" is being loaded`);
  return eventually('it is loaded', () => table.byNumber('delay', version));
}
const refusalOf = (table: RouteTable, version: number): string => {
  try {
    return `answered by ${table.byNumber('delay', version)?.version}`;
  } catch (error) {
    return (error as Error).message;
  }
};

test('without a memory budget a version that no route names is not loaded', async () => {
  const { table, loads } = aTable();
  await table.apply([aRoute()]);
  expect(table.byNumber('delay', 9)).toBeUndefined();
  expect(loads).not.toContain(9);
});

test('with one it is loaded when it is asked for, and once', async () => {
  const { table, loads } = aTable({ memoryBytes: 300, bytes: hundred });
  await table.apply([aRoute({ champion: 2, lastKnownGood: 1 })]);
  expect((await askUntilLoaded(table, 9)).version).toBe(9);
  expect(table.byNumber('delay', 9)!.version).toBe(9);
  await table.apply([aRoute({ epoch: 8 })]);
  expect(table.byNumber('delay', 9)!.version).toBe(9);
  expect(loads.filter((version) => version === 9)).toEqual([9]);
});

test('beyond the budget the least recently used goes, never what the route names', async () => {
  const { table, released } = aTable({ memoryBytes: 400, bytes: hundred });
  await table.apply([aRoute({ champion: 2, lastKnownGood: 1 })]);
  await askUntilLoaded(table, 7);
  await askUntilLoaded(table, 8);
  table.byNumber('delay', 7);
  await askUntilLoaded(table, 9);
  await expect.poll(() => released).toEqual([8]);
  expect(table.byNumber('delay', 7)!.version).toBe(7);
  expect([...table.held()].map(({ version }) => version).toSorted()).toEqual(['0', '1', '2', '7', '9']);
});

test('a new route makes room at the cost of what was asked for by number', async () => {
  const { table, released } = aTable({ memoryBytes: 300, bytes: hundred });
  await table.apply([aRoute({ champion: 2, lastKnownGood: 1 })]);
  await askUntilLoaded(table, 9);
  await table.apply([aRoute({ epoch: 8, champion: 2, lastKnownGood: 1, canary: 3, canaryWeight: 100 })]);
  await expect.poll(() => released).toEqual([9]);
  expect(table.find('delay')!.canary!.version).toBe(3);
});

test('a version that does not fit, or does not load, is refused with the reason and not tried again at once', async () => {
  const { table, bad, loads, released } = aTable({ memoryBytes: 250, bytes: hundred });
  await table.apply([aRoute({ champion: 2, lastKnownGood: 1 })]);
  bad.set(8, 'the file is truncated');
  expect(() => table.byNumber('delay', 8)).toThrow('is being loaded');
  await expect.poll(() => refusalOf(table, 8)).toContain('the file is truncated');
  expect(() => table.byNumber('delay', 9)).toThrow('is being loaded');
  await expect.poll(() => refusalOf(table, 9)).toContain('does not fit into the memory');
  expect(() => table.byNumber('delay', 9)).toThrow('does not fit into the memory');
  expect(loads.filter((version) => version > 2)).toEqual([8, 9]);
  await expect.poll(() => released).toEqual([9]);
  expect(table.find('delay')!.champion.version).toBe(2);
});
