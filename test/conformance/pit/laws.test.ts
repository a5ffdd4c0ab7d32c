/** Rule 15 of `shared/conformance/pit/README.md`, on random worlds through the kernel path. */
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { answerCase } from './answer.ts';
import { readCase } from './case-file.ts';
import type { Answer, CaseView, PitCase } from './case-types.ts';
import { formatTime } from '../../../domain/features/time-text.ts';
import { minus } from '../../../domain/instant.ts';
import { readTimeValue } from './case-values.ts';
import { outputColumns } from './output-columns.ts';
import { kernelPath } from './paths/kernel.ts';
import { aWorld, caseOf } from './worlds.ts';

/** On two cores that others use too. */
vi.setConfig({ testTimeout: 120_000 });

const WORLDS = { numRuns: 150, seed: 15 };
const kernel = kernelPath();

/** A world, and an order of `length` things by which to shuffle. */
const shuffles = fc.tuple(aWorld, fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })));

function shuffled<T>(items: readonly T[], order: Iterator<number>): { items: T[]; from: number[] } {
  const keyed = items
    .map((item, i) => ({ item, i, key: order.next().value as number }))
    .toSorted((a, b) => a.key - b.key);
  return { items: keyed.map(({ item }) => item), from: keyed.map(({ i }) => i) };
}

type Rows = Exclude<Answer, { error: string }>;
const answer = async (given: PitCase): Promise<Rows> => (await answerCase(given, kernel)) as Rows;
const readWorld = (draft: Parameters<typeof caseOf>[0]): PitCase => readCase(caseOf(draft, 'world'), 'case');

test('shuffling the rows of sources changes nothing', async () => {
  await fc.assert(
    fc.asyncProperty(shuffles, async ([draft, order]) => {
      const given = readWorld(draft);
      const sources = new Map(
        [...given.sources].map(([name, source]) => [name, { ...source, rows: shuffled(source.rows, order).items }]),
      );
      expect(await answer({ ...given, sources })).toEqual(await answer(given));
    }),
    WORLDS,
  );
});

test('shuffling the spine shuffles the answer', async () => {
  await fc.assert(
    fc.asyncProperty(shuffles, async ([draft, order]) => {
      const given = readWorld(draft);
      const { items, from } = shuffled(given.spine.rows, order);
      const [before, after] = [await answer(given), await answer({ ...given, spine: { ...given.spine, rows: items } })];
      expect(after.rows).toEqual(from.map((row) => before.rows[row]));
      expect(after.status).toEqual(
        Object.fromEntries(Object.entries(before.status).map(([name, of]) => [name, from.map((row) => of[row])])),
      );
    }),
    WORLDS,
  );
});

test('a row alone has the answer it has in a batch', async () => {
  await fc.assert(
    fc.asyncProperty(aWorld, async (draft) => {
      // groups make a split depend on other rows, as they should
      const given = readWorld({ ...draft, split: draft.split && { ...draft.split, group: false } });
      const batch = await answer(given);
      for (const [r, row] of given.spine.rows.entries()) {
        const alone = await answer({ ...given, spine: { ...given.spine, rows: [row] } });
        expect(alone.rows[0]).toEqual(batch.rows[r]);
        for (const [name, of] of Object.entries(batch.status)) expect(alone.status[name]).toEqual([of[r]]);
      }
    }),
    WORLDS,
  );
});

test('an exclusive view at t is the inclusive one a microsecond before, but for the age that a TTL allows', async () => {
  await fc.assert(
    fc.asyncProperty(aWorld, async (draft) => {
      const world = readWorld({ ...draft, labels: [], split: null });
      const withBoundary = (boundary: CaseView['boundary']): PitCase => ({
        ...world,
        views: world.views.map((view) => ({ ...view, boundary, ttl: null })),
      });
      const asOf = world.spine.columns.findIndex(({ name }) => name === world.spine.asOf);
      const earlier = world.spine.rows.map((row) =>
        row.with(asOf, formatTime(minus(readTimeValue(row[asOf], 'as_of'), 1))),
      );
      const exclusive = await answer(withBoundary('exclusive'));
      const inclusive = await answer({ ...withBoundary('inclusive'), spine: { ...world.spine, rows: earlier } });
      const features = outputColumns(world).flatMap(({ name }, c) => (name.startsWith('v') ? [c] : []));
      const values = ({ rows }: Rows): unknown[] => rows.map((row) => features.map((c) => row[c]));
      expect(values(exclusive)).toEqual(values(inclusive));
      expect(exclusive.status).toEqual(inclusive.status);
    }),
    WORLDS,
  );
});
