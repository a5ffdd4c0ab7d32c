import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SerinError } from '../../domain/errors.ts';
import type { KeyPart } from '../../domain/project/spec.ts';
import { decodeKey, encodeKey } from './key-encoding.ts';

const STR: KeyPart = { name: 'text', type: 'str' };
const I64: KeyPart = { name: 'number', type: 'i64' };

const part = fc.oneof(
  fc.string({ unit: 'grapheme' }).map((value) => ({ part: STR, value })),
  fc.maxSafeInteger().map((value) => ({ part: I64, value })),
);
const keys = fc.array(part, { minLength: 1, maxLength: 4 });
const encode = (key: readonly { part: KeyPart; value: string | number }[]) =>
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
])('a value that is not of the part is refused: %j %j', (keyPart, value) => {
  expect(() => encodeKey([keyPart], [value])).toThrow(SerinError);
});
