/** Many worlds, one after the other, over one store or both. */
import pg from 'pg';
import { connectRedis } from '../../../features/online/redis-connection.ts';
import { DuckDb } from '../../../features/offline/duckdb.ts';
import { ApplierHost } from './applier.ts';
import { checkWorld, type WorldReport } from './check-world.ts';
import { Coverage } from './coverage.ts';
import type { Mismatch } from './judge.ts';
import type { Servers, StoreKind } from './servers.ts';
import { WORLD_SIZE, type WorldSize } from './world.ts';

export interface RunRequest {
  readonly reads: number;
  readonly seed: number;
  readonly servers: Servers;
  readonly size?: WorldSize;
  readonly readsPerWorld?: number;
  /** Reads that brute force answers too, in all. */
  readonly witnessed?: number;
  /** Worlds of each store after which it is wiped and built again; absent: a fifth of them. */
  readonly rebuildLaws?: number;
  readonly onWorld?: (report: WorldReport, kind: StoreKind, index: number, worlds: number) => void;
}

export interface RunReport {
  readonly worlds: number;
  readonly rows: number;
  readonly reads: number;
  readonly cells: number;
  readonly witnessed: number;
  readonly kills: number;
  readonly reconnections: number;
  readonly rebuilds: number;
  readonly flips: number;
  /** Of the first world with any, all; of the others their number. */
  readonly failures: readonly {
    readonly report: WorldReport;
    readonly mismatches: readonly Mismatch[];
    readonly kind: StoreKind;
  }[];
  /** Reads whose answer some judge does not share. */
  readonly mismatched: number;
  readonly broken: readonly string[];
  readonly coverage: ReturnType<Coverage['report']>;
}

export const READS_PER_WORLD = 40_000;
/** "A brute-force oracle on 20k random reads" of a million. */
const WITNESSED_SHARE = 0.02;
const REBUILD_LAW_SHARE = 0.2;

export async function checkRun(request: RunRequest): Promise<RunReport> {
  const { reads, seed, servers, size = WORLD_SIZE, readsPerWorld = READS_PER_WORLD, onWorld } = request;
  const kinds = [...servers.urls.keys()];
  const worlds = Math.max(kinds.length, Math.ceil(reads / readsPerWorld));
  const rebuildLaws = request.rebuildLaws ?? Math.ceil((worlds * REBUILD_LAW_SHARE) / kinds.length);
  const host = new ApplierHost();
  const duckdb = await DuckDb.open({ memory: '2GB', threads: 2, tempDir: servers.dir });
  const coverage = new Coverage();
  const total = { rows: 0, cells: 0, witnessed: 0, kills: 0, reconnections: 0, rebuilds: 0, flips: 0, mismatched: 0 };
  const failures: RunReport['failures'][number][] = [];
  const broken: string[] = [];
  try {
    for (let index = 0; index < worlds; index++) {
      const kind = kinds[index % kinds.length]!;
      const storeUrl = servers.urls.get(kind)!;
      const report = await checkWorld({
        seed: seed * 1_000_003 + index,
        size,
        reads: Math.ceil(reads / worlds),
        storeUrl,
        cut: (name) => cutConnections(storeUrl, name),
        duckdb,
        dir: servers.dir,
        host,
        witnessShare: request.witnessed === undefined ? WITNESSED_SHARE : request.witnessed / reads,
        rebuildLaw: index < rebuildLaws * kinds.length,
      });
      const { world, run, judgement } = report;
      coverage.add(world, run.records);
      total.rows += world.rows.length;
      total.cells += judgement.cells;
      total.witnessed += judgement.witnessed;
      total.kills += run.kills;
      total.reconnections += run.reconnections;
      total.rebuilds += run.rebuilds;
      total.flips += report.flips;
      broken.push(...report.broken.map((sentence) => `world ${world.seed}: ${sentence}`));
      if (judgement.mismatches.length > 0) {
        total.mismatched += new Set(judgement.mismatches.map(({ record }) => record)).size;
        if (failures.length === 0) failures.push({ report, mismatches: judgement.mismatches, kind });
      }
      onWorld?.(report, kind, index, worlds);
    }
  } finally {
    await host.kill();
    duckdb.close();
  }
  return { worlds, reads: coverage.reads, ...total, failures, broken, coverage: coverage.report() };
}

/** Ends the connections of that name at the server, in the middle of whatever they are asked. */
export async function cutConnections(storeUrl: string, name: string): Promise<void> {
  if (storeUrl.startsWith('redis')) {
    const connection = connectRedis({ url: storeUrl, name: 'skew-admin' });
    const [list] = await connection.ask([['CLIENT', 'LIST']]);
    const ids = String(list)
      .split('\n')
      .filter((line) => line.includes(` name=${name} `))
      .map((line) => /^id=(\d+)/.exec(line)![1]!);
    await connection.ask(ids.map((id) => ['CLIENT', 'KILL', 'ID', id]));
    await connection.close();
    return;
  }
  const client = new pg.Client({ connectionString: storeUrl });
  await client.connect();
  await client.query('select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1', [name]);
  await client.end();
}
