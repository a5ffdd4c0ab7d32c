/** What a run says, as lines. */
import type { RunReport } from './check-run.ts';
import type { WorldReport } from './check-world.ts';
import type { Hunt } from './find-fault.ts';
import { showAnswer } from './read-log.ts';
import type { StoreKind } from './servers.ts';

type Out = (line: string) => void;

const grouped = (value: number): string => value.toLocaleString('en-US');

export function worldLine(
  { world, run, judgement, broken }: WorldReport,
  kind: StoreKind,
  index: number,
  worlds: number,
): string {
  const { kills, reconnections, rebuilds, records } = run;
  const wrong = judgement.mismatches.length + broken.length;
  return (
    `world ${index + 1} of ${worlds} (${kind}, seed ${world.seed}): ${grouped(world.rows.length)} rows, ${grouped(records.length)} reads, ` +
    `${kills} kills, ${reconnections} reconnections, ${rebuilds} rebuilds, ${wrong === 0 ? 'no mismatch' : `${wrong} MISMATCHES`}`
  );
}

export function printCoverage(counts: ReadonlyMap<string, number>, reads: number, out: Out): void {
  out('');
  out('reads that met');
  for (const [name, count] of counts) {
    out(`  ${name.padEnd(40)} ${grouped(count).padStart(10)}  ${((100 * count) / reads).toFixed(1).padStart(5)} %`);
  }
}

/** @returns the exit code */
export function printRun(report: RunReport, out: Out): number {
  const { worlds, rows, reads, cells, witnessed, kills, reconnections, rebuilds, flips, mismatched, broken } = report;
  const { missing } = report.coverage;
  out('');
  out(`${grouped(worlds)} worlds of ${grouped(rows)} rows in all`);
  out(
    `${grouped(reads)} reads of ${grouped(cells)} values and statuses, each held against DuckDB over the log and the replayed kernel;`,
  );
  out(`${grouped(witnessed)} of them, and every mismatch, against brute force`);
  out(
    `${kills} kills of the applier, ${reconnections} reconnections, ${rebuilds} views rebuilt while serving, ${flips} flips by late rows`,
  );
  for (const sentence of broken.slice(0, 20)) out(`broken: ${sentence}`);
  for (const sentence of missing) out(`too little coverage: ${sentence}`);
  out(`${grouped(mismatched)} mismatches`);
  const failed = mismatched + broken.length + missing.length;
  out(`${reads - mismatched} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

export function printFaults(hunts: readonly Hunt[], out: Out): void {
  for (const { fault, reads, found } of hunts) {
    out(
      `${found === null ? 'MISSED' : 'found '} ${fault.name.padEnd(22)} ${found === null ? `in ${grouped(reads)} reads` : `after ${grouped(reads)} reads`.padEnd(20)}  ${fault.what}`,
    );
    if (found === null) continue;
    const { mismatch, report } = found;
    const view = report.project.views[mismatch.view]!;
    out(
      `         ${view.name}, value ${mismatch.output}: online ${showAnswer(mismatch.record.answers[mismatch.view]!, mismatch.output)}, offline ${showAnswer(mismatch.offline, mismatch.output)}`,
    );
  }
}
