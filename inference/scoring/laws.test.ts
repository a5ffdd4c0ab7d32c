/** What must hold of every batch, whatever is in it and in whatever order it is computed. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MicroBatcher } from '../batching/micro-batcher.ts';
import type { Scorer } from '../model/scorer.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import type { Answer, Instance } from './answer.ts';
import type { FeatureInput } from './feature-batch.ts';
import type { PredictWork, Work } from './predictor.ts';
import { aPredictor, aWork } from './predictor-fixture.ts';
import { anEntry, anInput, anInstance, aStore, aVersion } from './serving-fixture.ts';

/** The columns of `anInput` in another order and with one more: versions of a route may differ in their feature sets. */
const widerInput: FeatureInput = {
  ...anInput,
  columns: ['stored', 'y', 'product', 'x'],
  assembleVectors(states, rows, foldedAt) {
    const plain = anInput.assembleVectors(states, rows, foldedAt);
    const pick = <T extends Float64Array | Uint8Array>(from: T, into: T, product: (row: number) => number): T => {
      rows.forEach((_, row) =>
        into.set([from[row * 3 + 2]!, from[row * 3 + 1]!, product(row), from[row * 3]!], row * 4),
      );
      return into;
    };
    const { values, statuses } = plain;
    return {
      ...plain,
      values: pick(values, new Float64Array(rows.length * 4), (row) => values[row * 3]! * values[row * 3 + 1]!),
      statuses: pick(statuses, new Uint8Array(rows.length * 4), (row) => statuses[row * 3]!),
    };
  },
};

/** x of rows that a version throws on, of rows it has no number for. */
const POISON = 13;
const NO_NUMBER = 17;

/** A function of the row that tells any two rows and versions apart; it settles when the scheduler says so. */
function aMixingScorer(
  version: number,
  { width, x }: { width: number; x: number },
  turn: () => Promise<unknown>,
  isFussy: boolean,
): Scorer {
  return {
    featureCount: width,
    offLoop: version % 2 === 1,
    async score(features, rows) {
      await turn();
      return Float64Array.from({ length: rows }, (_, row) => {
        const own = features.subarray(row * width, (row + 1) * width);
        if (isFussy && own[x] === POISON) throw new Error('a poisoned row');
        if (isFussy && own[x] === NO_NUMBER) return NaN;
        return own.reduce(
          (sum, value, i) => sum + Math.sin((Number.isNaN(value) ? 0.5 : value) * (i + version)),
          version,
        );
      });
    },
    release: () => Promise.resolve(),
  };
}

function entryOf(turn: () => Promise<unknown>): Promise<RouteEntry> {
  const plain = { width: 3, x: 0 };
  const wider = { width: 4, x: 3 };
  const inWider = { input: widerInput, featureNames: widerInput.columns, featureSet: 'features@2' };
  return anEntry({
    champion: aVersion(2, aMixingScorer(2, plain, turn, true), { mandatory: [2] }),
    canary: aVersion(3, aMixingScorer(3, wider, turn, true), inWider),
    canaryWeight: 5_000,
    lastKnownGood: aVersion(1, aMixingScorer(1, wider, turn, false), inWider),
    shadow: aVersion(4, aMixingScorer(4, plain, turn, true)),
  });
}

const request = fc.array(
  fc.record({
    x: fc.oneof(
      { weight: 5, arbitrary: fc.double({ noNaN: true, min: -9, max: 9 }) },
      { weight: 1, arbitrary: fc.constantFrom(POISON, NO_NUMBER) },
    ),
    y: fc.double({ noNaN: true, min: -9, max: 9 }),
    key: fc.constantFrom('k', 'l', 'none'),
  }),
  { minLength: 1, maxLength: 4 },
);

/** All that an answer says, but for whom it was said to. */
const said = ({ instance: _, served: __, ...rest }: Answer) => rest;

const STORED = { k: 0.125, l: 1 / 3 };
const now = (): Promise<void> => Promise.resolve();

async function unbatched(instances: readonly Instance[]): Promise<Answer[]> {
  const { predict } = aPredictor(await entryOf(now), { store: aStore(STORED) });
  const answers: Answer[] = [];
  for (const instance of instances) answers.push((await predict([instance]))[0]![0]!);
  return answers;
}

test('each batched answer is the unbatched one bit for bit; ids and rows never cross, whatever is poisoned and whenever versions come back', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(request, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 16 }),
      async (scheduler, requests, maxBatchRows) => {
        const instances = requests.map((rows, i) => rows.map((row, j) => anInstance(`${i}/${j}`, row)));
        const entry = await entryOf(() => scheduler.schedule(Promise.resolve()));
        const { predictor } = aPredictor(entry, { store: aStore(STORED) });
        const batcher = new MicroBatcher<Work>({
          run: (batch) => predictor.run(batch),
          limits: { maxBatchRows, maxQueueRows: 4_096 },
        });
        const asking = Promise.all(
          instances.map(
            (own) =>
              new Promise<readonly Answer[]>((resolve, reject) => {
                const work: PredictWork = { ...aWork(own), resolve, reject };
                batcher.submit(work);
              }),
          ),
        );
        const given = await scheduler.waitFor(asking);
        for (const [i, own] of instances.entries()) {
          expect(given[i]!.map(({ instance }) => instance)).toEqual(own);
          expect(given[i]!.map(said)).toEqual((await unbatched(own)).map(said));
        }
      },
    ),
    { numRuns: 60 },
  );
});

test('one poisoned row fails alone, wherever it is in the batch', async () => {
  const entry = await entryOf(now);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.double({ noNaN: true, min: -9, max: 9 }), { minLength: 1, maxLength: 40 }),
      fc.nat(),
      async (xs, at) => {
        const position = at % xs.length;
        const batch = (poisoned: boolean) =>
          xs.map((x, i) => anInstance(`${i}`, { x: poisoned && i === position ? POISON : x, key: 'k' }));
        const { predict } = aPredictor(entry, { store: aStore(STORED) });
        const [[healthy], [sick]] = [await predict(batch(false)), await predict(batch(true))];
        sick!.forEach((answer, i) => {
          if (i === position)
            expect(answer).toMatchObject({ reason: 'error', rung: expect.not.stringMatching(/^canary$/) as string });
          else expect(said(answer)).toEqual(said(healthy![i]!));
        });
      },
    ),
    { numRuns: 60 },
  );
});
