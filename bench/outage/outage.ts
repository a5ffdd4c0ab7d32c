/** PostgreSQL taken away from a tier that answers, and given back. The API and Temporal are not there at all. */
import { sql } from 'kysely';
import type { RoutedTier } from '../routed/routed-tier.ts';
import type { SeverableLink } from '../routed/severable-link.ts';
import { usageOfTree } from '../serving/process-usage.ts';

export interface Sample {
  /** Seconds since PostgreSQL was taken away. */
  readonly at: number;
  /** Of the process whose routes are oldest. */
  readonly stalenessSeconds: number;
  readonly logBufferRows: number;
  readonly logDropped: number;
  readonly tallyDropped: number;
  readonly residentMiB: number;
}

export interface Outage {
  /** What the metrics page said on the way, the last one just before PostgreSQL came back. */
  readonly samples: readonly Sample[];
  /** Milliseconds from PostgreSQL's return until the buffer was empty and the routes were fresh. */
  readonly recoveredMs: number;
}

const FRESH_SECONDS = 4;
const RECOVERY_WITHIN_MS = 120_000;

/** @param until waits on what happens during the outage, given the sample at hand; true: PostgreSQL may come back */
export async function takePostgresAway(
  tier: RoutedTier,
  link: SeverableLink,
  { everyMs, until }: { everyMs: number; until: (sample: Sample) => boolean },
): Promise<Outage> {
  await link.sever();
  const goneMs = performance.now();
  const samples: Sample[] = [];
  for (;;) {
    const sample = await sampleOf(tier, (performance.now() - goneMs) / 1_000);
    samples.push(sample);
    if (until(sample)) break;
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  await link.restore();
  const backMs = performance.now();
  for (;;) {
    const { logBufferRows, stalenessSeconds } = await sampleOf(tier, 0);
    const recoveredMs = performance.now() - backMs;
    if (logBufferRows < samples.at(-1)!.logBufferRows / 10 && stalenessSeconds < FRESH_SECONDS)
      return { samples, recoveredMs };
    if (recoveredMs > RECOVERY_WITHIN_MS) throw new Error(`not recovered: ${logBufferRows} rows are still buffered`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function sampleOf(tier: RoutedTier, at: number): Promise<Sample> {
  const text = await tier.metrics();
  const values = (name: string, label = ''): number[] =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{([^}]*)\\})? (\\S+)$`, 'gm'))]
      .filter(([, labels = '']) => labels.includes(label))
      .map(([, , value]) => Number(value));
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, value) => total + value, 0);
  return {
    at,
    stalenessSeconds: Math.max(...values('serin_inference_route_staleness_seconds')),
    logBufferRows: sum(values('serin_inference_log_buffer_rows')),
    logDropped: sum(values('serin_inference_dropped_total', 'what="log"')),
    tallyDropped: sum(values('serin_inference_dropped_total', 'what="tally"')),
    residentMiB: usageOfTree(tier.process.pid!).residentMiB,
  };
}

export interface Books {
  readonly asked: number;
  /** Of tallies and of log rows, in PostgreSQL. */
  readonly tallied: number;
  readonly logged: number;
  readonly droppedFromLog: number;
}

/** What was asked and what is in PostgreSQL, once both have come to rest. */
export async function booksOf(tier: RoutedTier, asked: number): Promise<Books> {
  const { db } = tier.database;
  const deadline = Date.now() + RECOVERY_WITHIN_MS;
  for (;;) {
    const { rows } = await sql<{ tallied: string | null; logged: string }>`
      select (select sum(requests) from arm_tally) tallied, (select count(*) from prediction) logged`.execute(db);
    const { logDropped } = await sampleOf(tier, 0);
    const [row] = rows as [{ tallied: string | null; logged: string }];
    const books = { asked, tallied: Number(row.tallied), logged: Number(row.logged), droppedFromLog: logDropped };
    if ((books.tallied === asked && books.logged + books.droppedFromLog === asked) || Date.now() > deadline)
      return books;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
