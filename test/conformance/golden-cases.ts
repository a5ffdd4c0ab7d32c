/** Comparing golden cases of the statistics with the implementation; the rules are those of the golden files' README. */
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

export interface GoldenReport {
  passed: number;
  /** one entry per failed case: its id, then a line per difference */
  failures: string[];
}

/** For a case without `tol`: no difference but in the last bits. */
const DEFAULT_TOLERANCE = 1e-12;

/** Runs every case of one golden file and adds to the report. */
export function runGoldenFile(text: string, report: GoldenReport): void {
  const file = JSON.parse(text) as GoldenFile;
  for (const golden of file.cases) {
    const found = runCase(file.statistic, golden);
    if (found.length === 0) report.passed++;
    else report.failures.push(found.map((line) => `${golden.id}: ${line}`).join('\n'));
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
  return differences(got, golden.expected, golden.tol ?? DEFAULT_TOLERANCE);
}

/**
 * Lines `path: got …, want …` where values differ: |got − want| ≤ tol·max(1, |want|) for numbers, "inf" for an infinity,
 * exactly for the rest, lists elementwise. Fields of `got` that are not wanted are not judged.
 */
export function differences(got: unknown, want: unknown, tolerance: number, path = ''): string[] {
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
  if (want === 'inf') return got === Infinity;
  if (want === '-inf') return got === -Infinity;
  return got === want;
}

function difference(path: string, got: unknown, want: unknown): string {
  return `${path}: got ${show(got)}, want ${show(want)}`;
}

function show(value: unknown): string {
  const text = JSON.stringify(value, (_key, item: unknown) =>
    typeof item === 'number' && !Number.isFinite(item) ? String(item) : item,
  );
  return text ?? 'nothing';
}
