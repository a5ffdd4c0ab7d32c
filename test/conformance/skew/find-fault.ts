/** Looks for a planted fault, as the check looks for a real one. */
import { DuckDb } from '../../../features/offline/duckdb.ts';
import { checkWorld, type WorldReport } from './check-world.ts';
import type { Fault } from './faults.ts';
import type { Mismatch } from './judge.ts';
import type { Servers, StoreKind } from './servers.ts';
import { WORLD_SIZE, type WorldSize } from './world.ts';

export interface Found {
  readonly report: WorldReport;
  readonly mismatch: Mismatch;
  readonly kind: StoreKind;
}

export interface Hunt {
  readonly fault: Fault;
  /** Until it was found, or in all. */
  readonly reads: number;
  readonly found: Found | null;
}

/** A fault that this many reads do not show is missed. */
export const READS_TO_FIND = 50_000;
const HUNT_READS = 3_000;
const HUNT_SIZE: WorldSize = { ...WORLD_SIZE, rows: 1_200, hours: 40 };

export async function findFault({
  fault,
  seed,
  servers,
}: {
  fault: Fault;
  seed: number;
  servers: Servers;
}): Promise<Hunt> {
  const [kind, storeUrl] = [...servers.urls][0]!;
  const duckdb = await DuckDb.open({ memory: '2GB', threads: 2, tempDir: servers.dir });
  try {
    let reads = 0;
    for (let index = 0; reads < READS_TO_FIND; index++) {
      const report = await checkWorld({
        seed: seed * 1_000_003 + 500_000 + index,
        size: HUNT_SIZE,
        reads: HUNT_READS,
        storeUrl,
        cut: () => Promise.resolve(),
        duckdb,
        dir: servers.dir,
        host: null,
        witnessShare: 0,
        rebuildLaw: false,
        fault,
      });
      const { records } = report.run;
      const places = new Map(records.map((record, i) => [record, i]));
      const first = report.judgement.mismatches.toSorted((a, b) => places.get(a.record)! - places.get(b.record)!)[0];
      if (first !== undefined) {
        return { fault, reads: reads + places.get(first.record)! + 1, found: { report, mismatch: first, kind } };
      }
      reads += records.length;
    }
    return { fault, reads, found: null };
  } finally {
    duckdb.close();
  }
}
