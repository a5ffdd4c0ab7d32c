/**
 * Proves that features served online are the features recomputed offline:
 * `npm run conformance:skew -- [--reads N] [--seed S] [--store postgres|redis|both] [--fault NAME | --faults]`.
 *
 * Prints each world, then reads, coverage per hazard and mismatches, and ends with `N passed, N failed`. With a planted
 * fault it must find it. Exit 0 when nothing failed, 1 when something did, 2 when it was asked wrongly.
 */
import { parseArgs } from 'node:util';
import { checkRun } from './check-run.ts';
import { FAULTS, type Fault } from './faults.ts';
import { findFault } from './find-fault.ts';
import { explainMismatch } from './isolate.ts';
import { printCoverage, printFaults, printRun, worldLine } from './print.ts';
import { startServers, STORE_KINDS, type StoreKind } from './servers.ts';

const USAGE = `usage: npm run conformance:skew -- [--reads 1000000] [--seed 1] [--store postgres|redis|both]
       npm run conformance:skew -- --faults [--store postgres|redis]
       npm run conformance:skew -- --fault NAME

planted faults: ${FAULTS.map(({ name }) => name).join(', ')}`;

interface Asked {
  readonly reads: number;
  readonly seed: number;
  readonly kinds: readonly StoreKind[];
  /** Null: no fault is planted. */
  readonly faults: readonly Fault[] | null;
}

function read(args: readonly string[]): Asked | string {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        reads: { type: 'string', default: '1000000' },
        seed: { type: 'string', default: '1' },
        store: { type: 'string', default: 'both' },
        fault: { type: 'string' },
        faults: { type: 'boolean', default: false },
      },
    });
    const [reads, seed] = [Number(values.reads), Number(values.seed)];
    if (!Number.isSafeInteger(reads) || reads < 1) return `--reads is ${values.reads}, expected a whole number from 1`;
    if (!Number.isSafeInteger(seed) || seed < 0) return `--seed is ${values.seed}, expected a whole number from 0`;
    const kinds = STORE_KINDS.filter((kind) => values.store === 'both' || values.store === kind);
    if (kinds.length === 0) return `--store is ${values.store}, expected postgres, redis or both`;
    if (values.faults) return { reads, seed, kinds, faults: FAULTS };
    if (values.fault === undefined) return { reads, seed, kinds, faults: null };
    const fault = FAULTS.find(({ name }) => name === values.fault);
    return fault === undefined ? `there is no fault "${values.fault}"` : { reads, seed, kinds, faults: [fault] };
  } catch (error) {
    return (error as Error).message;
  }
}

async function main({ reads, seed, kinds, faults }: Asked): Promise<number> {
  const out = (line: string): void => void process.stdout.write(`${line}\n`);
  const servers = await startServers(faults === null ? kinds : kinds.slice(0, 1));
  // the servers are processes of their own: who interrupts the run does not leave them behind
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void servers.stop().finally(() => process.exit(1)));
  }
  try {
    if (faults !== null) {
      const hunts = [];
      for (const fault of faults) {
        const hunt = await findFault({ fault, seed, servers });
        hunts.push(hunt);
        printFaults([hunt], out);
        if (faults.length === 1 && hunt.found !== null) out(await explainMismatch(hunt.found, servers, fault));
      }
      const missed = hunts.filter(({ found }) => found === null).length;
      out(`${hunts.length - missed} passed, ${missed} failed`);
      return missed === 0 ? 0 : 1;
    }
    const report = await checkRun({
      reads,
      seed,
      servers,
      onWorld: (world, kind, index, worlds) => out(worldLine(world, kind, index, worlds)),
    });
    printCoverage(report.coverage.counts, report.reads, out);
    for (const { report: world, mismatches, kind } of report.failures) {
      out(await explainMismatch({ report: world, mismatch: mismatches[0]!, kind }, servers));
    }
    return printRun(report, out);
  } finally {
    await servers.stop();
  }
}

const asked = read(process.argv.slice(2));
if (typeof asked === 'string') {
  process.stderr.write(`${asked}\n${USAGE}\n`);
  process.exitCode = 2;
} else {
  process.exitCode = await main(asked);
}
