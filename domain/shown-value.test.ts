import { expect, test } from 'vitest';
import { shownValue } from './shown-value.ts';

test.each([
  [undefined, 'missing'],
  [null, 'null'],
  ['a"b', '"a\\"b"'],
  [1.5, '1.5'],
  [Infinity, 'Infinity'],
  [[1, 'a', null], '[1,"a",null]'],
  [{ a: { b: 1 }, c: [] }, '{"a":{"b":1},"c":[]}'],
  [{ a: { b: { c: 1 } } }, '{"a":{"b":{…}}}'],
  [[], '[]'],
  [[[[]]], '[[[]]]'],
  [Array.from({ length: 20 }, (_, i) => i), '[0,1,2,3,4,5,6,7,…]'],
])('%j is shown as %s', (value, text) => {
  expect(shownValue(value)).toBe(text);
});

test('what a client makes long or deep is cut', () => {
  const deep: unknown = JSON.parse('['.repeat(100_000) + ']'.repeat(100_000));
  expect(shownValue(deep)).toBe('[[[…]]]');
  expect(shownValue('x'.repeat(1_000_000), 10)).toBe('"xxxxxxxxx…');
  const wide = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`k${i}`, 'y'.repeat(1_000)]));
  expect(shownValue(wide).length).toBeLessThan(130);
});
