import { describe, expect, test } from 'vitest';
import {
  boundaryMismatch,
  keyTypeMismatch,
  labelWindowFault,
  nameClash,
  rateUnitFault,
  refuse,
  splitFault,
  ttlFault,
  windowFault,
} from './definition-rules.ts';

describe('durations', () => {
  test.each([
    ['a window of nothing', windowFault({ length: 0, offset: 0, fn: 'sum' })],
    ['a window before its end', windowFault({ length: -1n, offset: 0, fn: 'sum' })],
    ['a window of the future', windowFault({ length: 1, offset: -1, fn: 'sum' })],
    ['a rate over all of the past', windowFault({ length: null, offset: 0, fn: 'rate' })],
    ['a rate per nothing', rateUnitFault(0)],
    ['a TTL below zero', ttlFault(-1)],
    ['a label of no window', labelWindowFault({ gap: 0, horizon: 0, delay: 0 })],
    ['a label of the past', labelWindowFault({ gap: -1, horizon: 1, delay: 0 })],
    ['a label known before it happens', labelWindowFault({ gap: 0, horizon: 1, delay: -1 })],
    ['an embargo below zero', splitFault({ gap: 0, horizon: 1, delay: 0, embargo: -1 })],
    ['a split of labels that reach back', splitFault({ gap: 0, horizon: -1, delay: 0, embargo: 0 })],
  ])('%s is refused', (_what, fault) => expect(fault).toMatchObject({ code: 'BAD_DURATION' }));

  test('the shortest that mean something are taken', () => {
    expect(windowFault({ length: 1, offset: 0, fn: 'rate' })).toBeNull();
    expect(windowFault({ length: null, offset: 1, fn: 'count' })).toBeNull();
    expect(ttlFault(0)).toBeNull();
    expect(ttlFault(null)).toBeNull();
    expect(rateUnitFault(1)).toBeNull();
    expect(labelWindowFault({ gap: 0, horizon: 1, delay: 0 })).toBeNull();
    expect(splitFault({ gap: 0, horizon: 0, delay: 0, embargo: 0 })).toBeNull();
  });
});

test('a name is used once', () => {
  expect(nameClash(['user', 'v__x', 'v__x__1h'])).toBeNull();
  expect(nameClash(['user', 'v__x', 'user'])).toMatchObject({
    code: 'NAME_CLASH',
    rule: expect.stringContaining('"user"'),
  });
});

test('a view and a label over one source have one boundary', () => {
  const view = { name: 'v', source: 's', boundary: 'exclusive' } as const;
  expect(boundaryMismatch(view, { name: 'y', source: 's', boundary: 'exclusive' })).toBeNull();
  expect(boundaryMismatch(view, { name: 'y', source: 'other', boundary: 'inclusive' })).toBeNull();
  expect(boundaryMismatch(view, { name: 'y', source: 's', boundary: 'inclusive' })).toMatchObject({
    code: 'BOUNDARY_MISMATCH',
  });
});

test('a key part and the field that it equals have one type', () => {
  expect(keyTypeMismatch({ name: 'user', type: 'str' }, { name: 'who', type: 'str' })).toBeNull();
  expect(keyTypeMismatch({ name: 'user', type: 'str' }, { name: 'who', type: 'i64' })).toMatchObject({
    code: 'KEY_TYPE_MISMATCH',
    rule: expect.stringMatching(/"user" is str.*"who" is i64/),
  });
});

test('what is refused says where and why', () => {
  expect(() => refuse(ttlFault(-1), 'view delays@1')).toThrow('view delays@1: a TTL cannot be negative, got -1 µs');
  expect(() => refuse(null, 'view delays@1')).not.toThrow();
});
