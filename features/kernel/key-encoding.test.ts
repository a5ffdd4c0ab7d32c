import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SerinError } from '../../domain/errors.ts';
import type { KeyPart } from '../../domain/project/spec.ts';
import { decodeKey, encodeKey, type KeyValue } from './key-encoding.ts';

const STR: KeyPart = { name: 'text', type: 'str' };
const I64: KeyPart = { name: 'number', type: 'i64' };
const BOOL: KeyPart = { name: 'flag', type: 'bool' };
const TS: KeyPart = { name: 'at', type: 'ts' };

const part = fc.oneof(
  fc.string({ unit: 'grapheme' }).map((value) => ({ part: STR, value })),
  fc.maxSafeInteger().map((value) => ({ part: I64, value })),
  fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n - 1n }).map((value) => ({ part: I64, value })),
  fc.bigInt({ min: -(2n ** 63n), max: -(2n ** 53n) }).map((value) => ({ part: TS, value })),
  fc.maxSafeInteger().map((value) => ({ part: TS, value })),
  fc.boolean().map((value) => ({ part: BOOL, value })),
);
const keys = fc.array(part, { minLength: 1, maxLength: 4 });
const encode = (key: readonly { part: KeyPart; value: KeyValue }[]) =>
  encodeKey(
    key.map(({ part: each }) => each),
    key.map(({ value }) => value),
  )!;

test('a key is what its bytes decode to, so different keys have different bytes', () => {
  fc.assert(
    fc.property(keys, (key) => {
      expect(decodeKey(encode(key))).toEqual(key.map(({ value }) => value));
    }),
  );
});

test('a number is not its text, and parts do not run into each other', () => {
  expect(encodeKey([I64], [1])).not.toEqual(encodeKey([STR], ['1']));
  expect(encodeKey([STR, STR], ['a', 'bc'])).not.toEqual(encodeKey([STR, STR], ['ab', 'c']));
  expect(encodeKey([STR], [''])).toHaveLength(5);
});

test('the bytes of keys stay what they are: they are stored', () => {
  const hex = (parts: KeyPart[], values: KeyValue[]): string => encodeKey(parts, values)!.toString('hex');
  expect(hex([STR, I64], ['a\u00e9', -2])).toBe('010000000361c3a902fffffffffffffffe');
  expect(hex([I64], [2 ** 53 - 1])).toBe('02001fffffffffffff');
  expect(hex([I64], [2n ** 53n + 1n])).toBe('020020000000000001');
  expect(hex([BOOL, TS], [true, 1])).toBe('0301040000000000000001');
  expect(hex([], [])).toBe('');
});

test('an instant is not a number, and truth is not one', () => {
  expect(encodeKey([TS], [1])).not.toEqual(encodeKey([I64], [1]));
  expect(encodeKey([BOOL], [true])).not.toEqual(encodeKey([I64], [1]));
});

test('keys are not normalised', () => {
  expect(encodeKey([STR], ['\u00e9'])).not.toEqual(encodeKey([STR], ['e\u0301']));
  expect(encodeKey([STR], ['a'])).not.toEqual(encodeKey([STR], ['A']));
});

test('a null part is no key', () => {
  expect(encodeKey([STR, I64], ['a', null])).toBeNull();
  expect(encodeKey([STR, I64], ['a'])).toBeNull();
});

test.each([
  [STR, 1],
  [I64, '1'],
  [I64, 1.5],
  [I64, 2 ** 53],
  [STR, '\ud800'],
  [BOOL, 1],
  [TS, '1970-01-01T00:00:00Z'],
  [I64, 2n ** 63n],
])('a value that is not of the part is refused: %o %s', (keyPart, value) => {
  expect(() => encodeKey([keyPart], [value])).toThrow(SerinError);
});
