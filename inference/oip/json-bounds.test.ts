import { expect, test } from 'vitest';
import { parseJson } from './infer-request.ts';

const MIB = 1 << 20;
/** A body of more than a MiB: below, it is parsed whatever it is. */
const bodyOf = (text: string): Buffer => Buffer.from(text.padEnd(MIB));

test.each([
  ['opening brackets alone', '['.repeat(MIB), 'deeper than 100'],
  ['a value that lies too deep', `${'[{"a":'.repeat(51)}0${'}]'.repeat(51)}`, 'deeper than 100'],
  ['more lists than a tensor needs', `[${'[],'.repeat(1_000_000)}0]`, 'more than 1000000 lists, objects and members'],
  ['more objects', `[${'{},'.repeat(1_000_000)}0]`, 'one flat list, or as binary data'],
  [
    'more members',
    `{${Array.from({ length: 1_000_000 }, (_, i) => `"${i.toString(36)}":0`).join(',')}}`,
    'more than 1000000',
  ],
])('%s are refused before they are parsed', (_, text, rule) => {
  expect(() => parseJson(bodyOf(text))).toThrow(
    expect.objectContaining({ code: 'INPUT_INVALID', message: expect.stringContaining(rule) as string }),
  );
});

test.each([
  ['a flat list', `[${'1,'.repeat(1_200_000)}1]`],
  ['as many lists as there may be', `[${'[],'.repeat(999_998)}0]`],
  ['what lies as deep as it may', `${'['.repeat(100)}${']'.repeat(100)}`],
  ['brackets, colons and quotes in texts', JSON.stringify(['[{:"\\'.repeat(400_000), '\\', '"[', '[[['])],
])('%s is parsed', (_, text) => {
  expect(Array.isArray(parseJson(bodyOf(text)))).toBe(true);
});
