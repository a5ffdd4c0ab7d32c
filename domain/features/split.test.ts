import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkSplitRule, splitAt, splitRows, type SplitRule } from './split.ts';

const aRule = (overrides: Partial<SplitRule> = {}): SplitRule => ({
  testStart: 100,
  testEnd: 200,
  gap: 0,
  horizon: 10,
  delay: 0,
  embargo: 0,
  ...overrides,
});

describe('a row by its time', () => {
  test.each([
    [89, 'TRAIN'],
    [90, 'TRAIN'],
    [91, 'PURGED'],
    [99, 'PURGED'],
    [100, 'TEST'],
    [199, 'TEST'],
    [200, 'PURGED'],
    [209, 'PURGED'],
    [210, 'EMBARGOED'],
    [214, 'EMBARGOED'],
    [215, 'TRAIN'],
  ])('%d is %s', (at, part) => expect(splitAt(aRule({ embargo: 5 }), at)).toBe(part));

  test('a label that becomes known late is purged earlier before the test, not longer after it', () => {
    const rule = aRule({ gap: 3, delay: 20 });
    expect([67, 68].map((at) => splitAt(rule, at))).toEqual(['TRAIN', 'PURGED']);
    expect([212, 213].map((at) => splitAt(rule, at))).toEqual(['PURGED', 'TRAIN']);
  });

  test('a label without a window reaches nothing', () => {
    expect([99, 100, 200].map((at) => splitAt(aRule({ horizon: 0 }), at))).toEqual(['TRAIN', 'TEST', 'TRAIN']);
  });

  test('is exact where instants are no numbers', () => {
    const testStart = 253_402_300_700_000_000n;
    const rule = aRule({ testStart, testEnd: testStart + 100n });
    expect([-10n, -9n, 0n, 99n, 100n, 109n, 110n].map((from) => splitAt(rule, testStart + from))).toEqual([
      'TRAIN',
      'PURGED',
      'TEST',
      'TEST',
      'PURGED',
      'PURGED',
      'TRAIN',
    ]);
  });
});

describe('rows in groups', () => {
  test('a group in the test leaves the training; rows of no group stay', () => {
    expect(splitRows(aRule(), [10, 10, 150, 10, 150], ['a', 'b', 'a', null, null])).toEqual([
      'GROUP_PURGED',
      'TRAIN',
      'TEST',
      'TRAIN',
      'TEST',
    ]);
  });

  test('groups are typed: the number 1 is not the text "1"', () => {
    expect(splitRows(aRule(), [10, 150], ['1', 1])).toEqual(['TRAIN', 'TEST']);
  });

  test('nothing that is not TRAIN by its time becomes it, and no group is on both sides', () => {
    const rows = fc.array(
      fc.record({ at: fc.integer({ min: 50, max: 260 }), group: fc.constantFrom('a', 'b', 'c', null) }),
    );
    fc.assert(
      fc.property(rows, (drafts) => {
        const rule = aRule({ embargo: 5 });
        const parts = splitRows(
          rule,
          drafts.map(({ at }) => at),
          drafts.map(({ group }) => group),
        );
        const groupsOf = (part: string): Set<string | null> =>
          new Set(drafts.filter(({ group }, i) => group !== null && parts[i] === part).map(({ group }) => group));
        expect([...groupsOf('TRAIN')].filter((group) => groupsOf('TEST').has(group))).toEqual([]);
        parts.forEach((part, i) => expect(part === 'GROUP_PURGED' ? 'TRAIN' : part).toBe(splitAt(rule, drafts[i]!.at)));
      }),
    );
  });
});

test('a label that ends before it begins, and an embargo below zero, are refused', () => {
  expect(() => checkSplitRule(aRule({ horizon: -1 }), 'the split')).toThrow(/^the split: .*horizon.*-1/);
  expect(() => checkSplitRule(aRule({ embargo: -1 }), 'the split')).toThrow(
    expect.objectContaining({ code: 'BAD_DURATION' }),
  );
  expect(() => checkSplitRule(aRule({ horizon: 0 }), 'the split')).not.toThrow();
});
