/**
 * One contender of one bench in a process of its own, so that its CPU time and memory are its own: `contender.js JOB.json`.
 * Prints what it used as JSON; starting Node and opening the database do not count.
 */
import { readFileSync } from 'node:fs';
import { DuckDb, type DuckDbSettings } from '../../features/offline/duckdb.ts';
import { joinBySerin, joinPlainly } from './latest-contenders.ts';
import type { LatestData } from './latest-data.ts';
import { joinWide, type WideData } from './wide.ts';
import { buildBySerin, joinByHand, type WindowData } from './windows.ts';

export type Job = (
  | { readonly work: 'latest-serin' | 'latest-plain'; readonly data: LatestData }
  | { readonly work: 'windows-serin' | 'windows-serin-hops' | 'windows-hand'; readonly data: WindowData }
  | { readonly work: 'wide-serin'; readonly data: WideData }
) & {
  readonly output: string;
  readonly workDir: string;
  readonly duckdb: DuckDbSettings;
};

export interface Usage {
  /** User and system time, all threads. */
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  readonly peakMiB: number;
}

async function work(job: Job, duckdb: DuckDb): Promise<void> {
  switch (job.work) {
    case 'latest-serin':
      return joinBySerin(duckdb, job.data, job.output);
    case 'latest-plain':
      return joinPlainly(duckdb, job.data, job.output);
    case 'windows-serin':
      return buildBySerin(job.data, 'exact', job.workDir, job.duckdb, job.output);
    case 'windows-serin-hops':
      return buildBySerin(job.data, 'as declared', job.workDir, job.duckdb, job.output);
    case 'windows-hand':
      return joinByHand(duckdb, job.data, job.output);
    case 'wide-serin':
      return joinWide(duckdb, job.data, job.output);
  }
}

async function main(path: string): Promise<Usage> {
  const job = JSON.parse(readFileSync(path, 'utf8')) as Job;
  const duckdb = await DuckDb.open(job.duckdb);
  const [startedAtMs, before] = [performance.now(), process.cpuUsage()];
  await work(job, duckdb);
  const { user, system } = process.cpuUsage(before);
  const wallSeconds = (performance.now() - startedAtMs) / 1000;
  duckdb.close();
  return { cpuSeconds: (user + system) / 1e6, wallSeconds, peakMiB: process.resourceUsage().maxRSS / 1024 };
}

console.log(JSON.stringify(await main(process.argv[2]!)));
