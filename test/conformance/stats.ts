/**
 * Runs golden cases of the statistics: `node dist/test/conformance/stats.js FILE.json…`.
 *
 * Each case calls the implementation by the file's `statistic` and compares every value under `expected`:
 * |got − want| ≤ tol·max(1, |want|) for numbers, exactly for everything else, lists elementwise; a case with `error` must
 * fail with that code. Prints each failure and ends with the line `N passed, N failed`; exit 1 when any failed, 2 for usage.
 */
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { StatisticError } from '../../domain/statistics/statistic-error.ts';
import { STATISTICS } from './statistics-by-name.ts';

interface GoldenCase {
  readonly id: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly expected?: unknown;
  readonly error?: string;
  readonly tol?: number;
}

interface GoldenFile {
  readonly statistic: string;
  readonly cases: readonly GoldenCase[];
}

/** Where the README of a case does not give `tol`: exact comparison but for the last bits. */
const DEFAULT_TOLERANCE = 1e-12;

export interface Report {
  passed: number;
  failures: string[];
}

export function runGoldenFile(text: string, report: Report): void {
  const file = JSON.parse(text) as GoldenFile;
  for (const golden of file.cases) {
    const differences = runCase(file.statistic, golden);
    if (differences.length === 0) report.passed++;
    else report.failures.push(...differences.slice(0, 1).map((line) => `${golden.id}: ${line}`));
    for (const line of differences.slice(1)) report.failures[report.failures.length - 1] += `\n  also ${line}`;
  }
}

function runCase(statistic: string, golden: GoldenCase): string[] {
  const compute = Object.hasOwn(STATISTICS, statistic) ? STATISTICS[statistic] : undefined;
  if (compute === undefined) return [`no statistic is called ${statistic}`];
  let got: unknown;
  try {
    got = compute(golden.input);
  } catch (error) {
    if (golden.error !== undefined && error instanceof StatisticError && error.code === golden.error) return [];
    const wanted = golden.error === undefined ? 'a value' : `error ${golden.error}`;
    if (error instanceof StatisticError) return [`got error ${error.code} (${error.message}), want ${wanted}`];
    return [`got ${String(error)}, want ${wanted}`];
  }
  if (golden.error !== undefined) return [`got ${show(got)}, want error ${golden.error}`];
  return differences(got, golden.expected, golden.tol ?? DEFAULT_TOLERANCE, '');
}

/** Lines `path: got …, want …` where the values differ; extra fields of `got` are not judged. */
export function differences(got: unknown, want: unknown, tolerance: number, path: string): string[] {
  if (Array.isArray(want)) {
    if (!Array.isArray(got)) return [difference(path, got, want)];
    if (got.length !== want.length) return [`${path}: got ${got.length} entries, want ${want.length}`];
    return want.flatMap((item, i) => differences(got[i], item, tolerance, `${path}[${i}]`));
  }
  if (typeof want === 'object' && want !== null) {
    if (typeof got !== 'object' || got === null) return [difference(path, got, want)];
    return Object.entries(want).flatMap(([key, value]) =>
      differences((got as Record<string, unknown>)[key], value, tolerance, path === '' ? key : `${path}.${key}`),
    );
  }
  return agrees(got, want, tolerance) ? [] : [difference(path, got, want)];
}

function agrees(got: unknown, want: unknown, tolerance: number): boolean {
  if (typeof want === 'number') {
    return typeof got === 'number' && Math.abs(got - want) <= tolerance * Math.max(1, Math.abs(want));
  }
  if (want === 'inf') return got === Infinity || got === 'inf';
  if (want === '-inf') return got === -Infinity || got === '-inf';
  return got === want;
}

function difference(path: string, got: unknown, want: unknown): string {
  return `${path}: got ${show(got)}, want ${show(want)}`;
}

function show(value: unknown): string {
  if (typeof value === 'number') return String(value);
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === 'number' && !Number.isFinite(item) ? String(item) : item,
  );
}

function main(paths: readonly string[]): number {
  if (paths.length === 0) {
    process.stderr.write('usage: npm run conformance:stats -- FILE.json…\nRuns the golden cases of each file.\n');
    return 2;
  }
  const report: Report = { passed: 0, failures: [] };
  for (const path of paths) {
    try {
      runGoldenFile(readFileSync(path, 'utf8'), report);
    } catch (error) {
      report.failures.push(`${path}: cannot be run: ${String(error)}`);
    }
  }
  for (const failure of report.failures) process.stdout.write(`${failure}\n`);
  process.stdout.write(`${report.passed} passed, ${report.failures.length} failed\n`);
  return report.failures.length === 0 ? 0 : 1;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.exitCode = main(process.argv.slice(2));
}
