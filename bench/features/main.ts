/**
 * `npm run bench -- features [--rows N] [--quick] [--rounds N] [--only latest|windows|wide] [--no-feast]`
 *
 * Serin beside Feast and beside DuckDB written by hand, alternating, each in a process of its own. Ends with a table, which
 * bench/results/features.json keeps when it is of the full size.
 */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runFeaturesBench, BENCHES, type BenchName, type BenchOptions } from './features-bench.ts';
import { type Bench, type Machine, machine, tableOf } from './report.ts';

const FULL_ROWS = 1_000_000;
const USAGE =
  'usage: npm run bench -- features [--rows N] [--quick] [--rounds N] [--only latest|windows|wide] [--no-feast]';
const RESULTS = new URL('../results/', import.meta.url.replace('/dist/bench/', '/bench/'));

function optionsOf(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rows: { type: 'string' },
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true },
      'no-feast': { type: 'boolean', default: false },
    },
  });
  const whole = (name: 'rows' | 'rounds', fallback: number): number => {
    const number = values[name] === undefined ? fallback : Number(values[name]);
    if (!Number.isSafeInteger(number) || number < 1) throw new RangeError(`--${name} must be a whole number from 1 on`);
    return number;
  };
  const only = (values.only ?? BENCHES) as BenchName[];
  const unknown = only.find((name) => !BENCHES.includes(name));
  if (unknown !== undefined) throw new RangeError(`there is no bench "${unknown}"; there are ${BENCHES.join(', ')}`);
  return {
    rows: whole('rows', values.quick ? 20_000 : FULL_ROWS),
    rounds: whole('rounds', values.quick ? 1 : 3),
    only,
    feast: !values['no-feast'],
  };
}

/** Each bench with the run that it is of: a run of one leaves the others as they were. */
async function keep(benches: readonly Bench[], before: Machine, after: Machine, rounds: number): Promise<void> {
  const path = fileURLToPath(new URL('features.json', RESULTS));
  const kept = existsSync(path) ? (JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>) : {};
  const run = { ranAt: new Date().toISOString(), node: process.version, rounds, before, after };
  for (const bench of benches) kept[bench.name] = { ...bench, run };
  await mkdir(RESULTS, { recursive: true });
  await writeFile(path, `${JSON.stringify(kept, null, 2)}\n`);
}

async function main(): Promise<void> {
  let options: BenchOptions;
  try {
    options = optionsOf(process.argv.slice(2));
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    process.exitCode = 2;
    return;
  }
  const folder = await mkdtemp(join(tmpdir(), 'serin-bench-'));
  const before = machine();
  try {
    const benches = await runFeaturesBench(folder, options, (line) => console.error(line));
    console.log(benches.map(tableOf).join('\n\n'));
    const after = machine();
    console.log(`\n${before.cpus}, ${before.memoryGiB} GiB; load ${before.load} before and ${after.load} after`);
    if (options.rows === FULL_ROWS) await keep(benches, before, after, options.rounds);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await main();
