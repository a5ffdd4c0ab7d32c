import { expect, test } from 'vitest';
import { checkWorlds } from './check-worlds.ts';
import type { Path } from './answer.ts';
import { readCaseFile } from './case-file.ts';
import type { CaseRow } from './case-types.ts';
import type { World, WorldView } from './case-specs.ts';
import { kernelPath } from './paths/kernel.ts';
import { openPath } from './paths/open.ts';
import { worldCases } from './world-cases.ts';

const KERNEL_WORLDS = 10_000;
const DUCKDB_WORLDS = 200;
/** On two cores that others use too. */
const TIMEOUT_MS = 240_000;

test(
  `${KERNEL_WORLDS} random worlds: the kernel answers as the oracle does`,
  () => checkWorlds(kernelPath(), KERNEL_WORLDS),
  TIMEOUT_MS,
);

test(
  `${DUCKDB_WORLDS} random worlds: DuckDB answers as the oracle does`,
  async () => {
    const path = await openPath('duckdb');
    try {
      await checkWorlds(path, DUCKDB_WORLDS);
    } finally {
      await path.close();
    }
  },
  TIMEOUT_MS,
);

test(
  'a path that is wrong is found, with the smallest world as a case',
  async () => {
    const kernel = kernelPath();
    // an age that equals the TTL is alive: here it is not
    const strictTtl = (view: WorldView): WorldView => {
      const { ttlMicros, ...spec } = view.spec;
      return typeof ttlMicros !== 'number' || ttlMicros < 1
        ? view
        : { ...view, spec: { ...spec, ttlMicros: ttlMicros - 1 } };
    };
    const wrong: Path = {
      ...kernel,
      answer: (world: World) => kernel.answer({ ...world, views: world.views.map(strictTtl) }),
    };
    const message = await checkWorlds(wrong, KERNEL_WORLDS).then(
      () => 'nothing was found',
      (error: Error) => error.message,
    );
    expect(message).toMatch(/^kernel: row 0 v0__f0: null \/ /);
    const [smallest] = readCaseFile(message.slice(message.indexOf('{"schema"')), 'the case');
    if (smallest === undefined || 'unreadable' in smallest) throw new Error('what is printed is no case');
    const rows: CaseRow[] = [...smallest.sources.values()].flatMap((source) => [...source.rows]);
    expect(rows).toHaveLength(1);
    expect(smallest.views.map(({ features }) => features.length)).toEqual([1]);
    expect(smallest.spine.rows).toHaveLength(1);
  },
  TIMEOUT_MS,
);

test('worlds of a seed are the same file every time', () => {
  expect(worldCases(5, 3)).toBe(worldCases(5, 3));
  expect(worldCases(5, 3)).not.toBe(worldCases(5, 4));
});
