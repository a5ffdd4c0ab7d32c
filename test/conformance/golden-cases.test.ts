import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type GoldenReport, differences, runGoldenFile } from './golden-cases.ts';

/** The golden files are handed out beside the checkout, not in it. */
const GOLDEN = new URL('../../../shared/conformance/stats/', import.meta.url);
const files = existsSync(GOLDEN) ? readdirSync(GOLDEN).filter((name) => name.endsWith('.json')) : [];
const absent = files.length === 0;

test.skipIf(absent)(
  `every golden case passes${absent ? ' (skipped: ../shared/conformance/stats is not here)' : ''}`,
  () => {
    const report: GoldenReport = { passed: 0, failures: [] };
    for (const file of files) runGoldenFile(readFileSync(new URL(file, GOLDEN), 'utf8'), report);
    expect(report.failures).toEqual([]);
    expect(report.passed).toBeGreaterThanOrEqual(158);
  },
);

test('a wrong value, a wrong error and an unknown statistic are failures with their reasons', () => {
  const report: GoldenReport = { passed: 0, failures: [] };
  const cases = [
    { id: 'right', input: { y: [0, 1], p: [0.5, 0.5] }, expected: { brier: 0.25 }, tol: 1e-10 },
    { id: 'wrong', input: { y: [0, 1], p: [0.5, 0.5] }, expected: { brier: 0.3 }, tol: 1e-10 },
    { id: 'right-error', input: { y: [], p: [] }, error: 'empty' },
    { id: 'wrong-error', input: { y: [2], p: [0.5] }, error: 'empty' },
    { id: 'no-error', input: { y: [1], p: [0.5] }, error: 'empty' },
  ];
  runGoldenFile(JSON.stringify({ statistic: 'brier', version: 1, cases }), report);
  runGoldenFile(JSON.stringify({ statistic: 'toString', version: 1, cases: [{ id: 'x', input: {} }] }), report);
  expect(report.passed).toBe(2);
  expect(report.failures).toEqual([
    'wrong: brier: got 0.25, want 0.3',
    expect.stringMatching(/^wrong-error: got error invalid_label .*want error empty$/),
    'no-error: got {"brier":0.25}, want error empty',
    'x: no statistic is called toString',
  ]);
});

test('values are compared by tolerance, infinities by name, the rest exactly', () => {
  expect(
    differences({ a: 1000.5, b: Infinity, c: null, d: [1, 2] }, { a: 1000, b: 'inf', c: null, d: [1, 2] }, 1e-3),
  ).toEqual([]);
  expect(differences({ a: 0 }, { a: null }, 1)).toEqual(['a: got 0, want null']);
  expect(differences({ a: NaN }, { a: 1 }, 1)).toEqual(['a: got "NaN", want 1']);
  expect(differences({ a: 1e300 }, { a: 'inf' }, 1)).toEqual(['a: got 1e+300, want "inf"']);
  expect(differences({ d: [1] }, { d: [1, 2] }, 1)).toEqual(['d: got 1 entries, want 2']);
  expect(differences({}, { d: true }, 1)).toEqual(['d: got nothing, want true']);
});
