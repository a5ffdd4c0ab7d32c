import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  findAssumedAvailability,
  findLateFeatures,
  findOwnEvents,
  findSeparation as separation,
  sampleForSeparation,
  SEPARATION_AUC,
} from './leakage.ts';

const findSeparation = (features: readonly string[], columns: readonly Float64Array[], y: Float64Array) =>
  features.flatMap((feature, i) => separation(feature, columns[i]!, sampleForSeparation(y)));

const labels = Float64Array.from({ length: 400 }, (_, i) => i % 2);
/** Separates `share` of the rows exactly; the others have the same value in both classes. */
const separating = (share: number) =>
  labels.map((label, i) => (i < share * labels.length ? label * 1000 : Math.floor(i / 2)));

test('a feature that holds the outcome is found, in either direction', () => {
  const copy = labels.map((label) => 3 * label);
  const opposite = copy.map((value) => -value);
  const honest = labels.map((_, i) => Math.floor(i / 2));
  expect(findSeparation(['copy', 'opposite', 'honest'], [copy, opposite, honest], labels)).toEqual([
    {
      feature: 'copy',
      kind: 'separation',
      severity: 'fail',
      value: 1,
      sentence:
        'copy alone ranks the classes with an AUC of 1.000 on 400 training rows, at or above 0.85: it probably holds the outcome.',
    },
    expect.objectContaining({ feature: 'opposite', value: 1 }),
  ]);
});

test('a feature whose absence tells the outcome is found', () => {
  const absent = labels.map((label) => (label === 1 ? NaN : 5));
  expect(findSeparation(['absent'], [absent], labels)).toMatchObject([{ feature: 'absent', value: 1 }]);
});

test('what is reported is at the threshold or above, and symmetric in the labels', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (share) => {
      const column = separating(share);
      const found = findSeparation(['x'], [column], labels);
      expect(found.every(({ value }) => value >= SEPARATION_AUC && value <= 1)).toBe(true);
      expect(
        findSeparation(
          ['x'],
          [column],
          labels.map((label) => 1 - label),
        ).map(({ value }) => value),
      ).toEqual(found.map(({ value }) => value));
    }),
    { numRuns: 30 },
  );
  expect(findSeparation(['x'], [separating(0.9)], labels)).toHaveLength(1);
  expect(findSeparation(['x'], [separating(0.3)], labels)).toEqual([]);
});

test('too few rows of a class accuse nobody', () => {
  const few = Float64Array.from({ length: 1000 }, (_, i) => Number(i < 99));
  expect(findSeparation(['copy'], [few], few)).toEqual([]);
});

test('one row that sees its own event fails; none is no finding', () => {
  const count = { alias: 'origin', view: 'traffic@1', source: 'flights', rows: 200_000 };
  expect(findOwnEvents([{ ...count, visible: 0 }])).toEqual([]);
  expect(findOwnEvents([{ ...count, visible: 1 }])).toEqual([
    {
      feature: 'origin__*',
      kind: 'own_event',
      severity: 'fail',
      value: 1 / 200_000,
      sentence:
        '1 of 200,000 rows (0.000500 %) see their own event of flights, which holds the label, through origin (traffic@1): its availableAt must not come before the label is known.',
    },
  ]);
});

test('availability that is never later than the event is called assumed', () => {
  const count = { alias: 'origin', view: 'traffic@1', source: 'flights', events: 10 };
  expect(
    findAssumedAvailability([
      { ...count, atOnce: 9 },
      { ...count, events: 0, atOnce: 0 },
    ]),
  ).toEqual([]);
  expect(findAssumedAvailability([{ ...count, atOnce: 10 }])).toMatchObject([
    { kind: 'availability', severity: 'warn', value: 1 },
  ]);
});

test('rows without a label take no part in what a feature separates', () => {
  const half = labels.map((label, i) => (i < 200 ? label : NaN));
  const sample = sampleForSeparation(half)!;
  expect(sample.rows).toEqual(Uint32Array.from({ length: 200 }, (_, i) => i));
  expect(separation('copy', labels, sample)).toMatchObject([{ value: 1 }]);
});

test('events that become known after the label are worth a look, earlier ones are not', () => {
  const delay = { alias: 'status', view: 'reports@1', source: 'reports', labelDelayMicros: 7.2e9 };
  expect(findLateFeatures([{ ...delay, delayMicros: 7.2e9 }])).toEqual([]);
  expect(findLateFeatures([{ ...delay, delayMicros: 2.592e11 }])).toEqual([
    {
      feature: 'status__*',
      kind: 'availability',
      severity: 'warn',
      value: 7.2e9 / 2.592e11,
      sentence:
        'Half of the events of reports become known 3 d after they happen or later, which is after the label is (2 h), so status (reports@1) tells of what is long past or was written with the outcome at hand.',
    },
  ]);
});
