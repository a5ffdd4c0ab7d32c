import { expect, test } from 'vitest';
import { readVersion } from './commands/models.ts';
import { readFields } from './commands/predict.ts';
import { durationMs } from './commands/training.ts';
import { checkNode } from './diagnose.ts';
import { fields, table } from './output.ts';
import { parseRows } from './read-rows.ts';
import { readProblem } from './api-client.ts';

test('fields are JSON where they can be, else text', () => {
  expect(readFields(['origin=SEA', 'distance=679', 'code="12"', 'note=a=b', 'flag=true'])).toEqual({
    origin: 'SEA',
    distance: 679,
    code: '12',
    note: 'a=b',
    flag: true,
  });
  expect(() => readFields(['origin'])).toThrow('name=value');
});

test('versions are read with and without their v', () => {
  expect([readVersion('v12'), readVersion('3')]).toEqual([12, 3]);
  expect(() => readVersion('latest')).toThrow('v2 or 2');
});

test('durations have one unit', () => {
  expect([durationMs('90s'), durationMs('30m'), durationMs('6h'), durationMs('1d')]).toEqual([
    90_000, 1_800_000, 21_600_000, 86_400_000,
  ]);
  expect(() => durationMs('1h30m')).toThrow('30m');
});

test('rows are JSON lines or one list, and a bad one is named by its line', () => {
  expect(parseRows('{"a":1}\n\n{"a":2}\n', 'f')).toEqual([{ a: 1 }, { a: 2 }]);
  expect(parseRows(' [{"a":1}]', 'f')).toEqual([{ a: 1 }]);
  expect(() => parseRows('{"a":1}\nnot json', 'f.jsonl')).toThrow('f.jsonl, line 2');
  expect(() => parseRows('[1]', 'f.json')).toThrow('f.json, element 0');
});

test('tables are aligned on a terminal and tab-separated in a pipe', () => {
  const output = { json: false, write: () => undefined, note: () => undefined };
  const rows = [
    ['a', 1],
    ['long', null],
  ] as const;
  expect(table({ ...output, terminal: false }, ['name', 'n'], rows)).toBe('a\t1\nlong\t');
  expect(table({ ...output, terminal: true }, ['name', 'n'], rows)).toBe('NAME  N\na     1\nlong');
  expect(table({ ...output, terminal: true }, ['name'], [])).toBe('(none)');
  expect(fields({ name: 'a', missing: null, n: 0.123456 })).toBe('name: a\nn:    0.12346');
});

test('a problem of a newer API keeps its code in the fields', () => {
  expect(readProblem('{"code":"BATCH_CONFLICT","status":409,"detail":"d","batchId":"b"}')).toMatchObject({
    code: 'BATCH_CONFLICT',
    fields: { batchId: 'b' },
  });
  expect(readProblem('{"code":"NEW_ONE","status":403,"detail":"d"}')).toMatchObject({
    code: 'FORBIDDEN',
    fields: { code: 'NEW_ONE' },
  });
  expect(readProblem('<html>')).toBeUndefined();
});

test('the doctor asks for the Node.js that Serin is tested with', () => {
  expect([checkNode('20.20.0').ok, checkNode('22.1.0').ok, checkNode('20.9.0').ok, checkNode('18.20.0').ok]).toEqual([
    true,
    true,
    false,
    false,
  ]);
});
