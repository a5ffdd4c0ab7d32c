/**
 * Runs golden cases of the statistics: `node dist/test/conformance/stats.js FILE.json…`.
 *
 * Prints each failure with case, path, got and want, and ends with the line `N passed, N failed`. Exit 0 when every case
 * passed, 1 when any failed or a file could not be read, 2 without files.
 */
import { readFileSync } from 'node:fs';
import { type GoldenReport, runGoldenFile } from './golden-cases.ts';

const paths = process.argv.slice(2);
if (paths.length === 0) {
  process.stderr.write('usage: npm run conformance:stats -- FILE.json…\nRuns the golden cases in each file.\n');
  process.exitCode = 2;
} else {
  const report: GoldenReport = { passed: 0, failures: [] };
  for (const path of paths) {
    try {
      runGoldenFile(readFileSync(path, 'utf8'), report);
    } catch (error) {
      report.failures.push(`${path}: ${String(error)}`);
    }
  }
  for (const failure of report.failures) process.stdout.write(`${failure}\n`);
  process.stdout.write(`${report.passed} passed, ${report.failures.length} failed\n`);
  process.exitCode = report.failures.length === 0 ? 0 : 1;
}
