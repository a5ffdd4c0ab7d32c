import { expect, test } from 'vitest';
import { aScorer, aVersion, anEntry } from '../scoring/serving-fixture.ts';
import { hasOverride, readOverride } from './read-override.ts';

const version = (number: number) =>
  aVersion(
    number,
    aScorer(() => 0),
  );
const entry = await anEntry({ champion: version(3), lastKnownGood: version(2), canary: version(4) });
const alone = await anEntry({ champion: version(3) });

test('without a header nobody is asked for', () => {
  expect(hasOverride({ authorization: 'Bearer x' })).toBe(false);
  expect(hasOverride({ 'x-serin-version': '' })).toBe(true);
  expect(hasOverride({ 'x-serin-arm': 'canary' })).toBe(true);
});

test.each([
  ['4', 4],
  ['v2', 2],
  ['0', 0],
])('x-serin-version: %s', (value, expected) => {
  expect(readOverride({ 'x-serin-version': value }, entry)).toEqual({ version: expected });
});

test.each(['champion', 'canary'])('x-serin-arm: %s', (arm) => {
  expect(readOverride({ 'x-serin-arm': arm }, entry)).toEqual({ arm });
});

test.each([
  [{ 'x-serin-version': '9' }, 'VERSION_NOT_FOUND', 'version 9 of "delay" is not loaded here; 3, 2, 4, 0 are'],
  [{ 'x-serin-version': '4, 3' }, 'INPUT_INVALID', 'x-serin-version is "4, 3": it must be one version'],
  [{ 'x-serin-version': '' }, 'INPUT_INVALID', 'it must be one version'],
  [{ 'x-serin-version': '-1' }, 'INPUT_INVALID', 'it must be one version'],
  [{ 'x-serin-arm': 'shadow' }, 'INPUT_INVALID', 'it must be champion or canary'],
  [{ 'x-serin-arm': 'canary', 'x-serin-version': '4' }, 'INPUT_INVALID', 'send one of the two'],
])('%j is refused', (headers, code, message) => {
  expect(() => readOverride(headers, entry)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(message) as string }),
  );
});

test('there is no canary to ask for', () => {
  expect(() => readOverride({ 'x-serin-arm': 'canary' }, alone)).toThrow(
    expect.objectContaining({ code: 'VERSION_NOT_FOUND', message: '"delay" has no canary now' }),
  );
});
