import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkRun, type RunReport } from '../conformance/skew/check-run.ts';
import { FAULTS } from '../conformance/skew/faults.ts';
import { findFault, READS_TO_FIND } from '../conformance/skew/find-fault.ts';
import { explainMismatch, isolate } from '../conformance/skew/isolate.ts';
import { WORLD_SIZE } from '../conformance/skew/world.ts';
import type { Servers, StoreKind } from '../conformance/skew/servers.ts';
import { readCaseFile } from '../conformance/pit/case-file.ts';
import { startTestRedis } from '../setup/redis-server.ts';
import { createTestDatabase } from '../setup/test-database.ts';

const READS = 100_000;
/** Beside two programs that take a core each it has needed 257 s. */
const RUN_MS = 900_000;

let servers: Servers;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  const dir = await mkdtemp(join(tmpdir(), 'serin-skew-'));
  stops.push(() => rm(dir, { recursive: true, force: true }));
  const urls = new Map<StoreKind, string>([['postgres', await createTestDatabase()]]);
  const redis = await startTestRedis();
  if (redis !== null) {
    stops.push(() => redis.close());
    urls.set('redis', redis.url);
  }
  servers = { urls, dir, stop: () => Promise.resolve() };
});

afterAll(async () => {
  for (const stop of stops.toReversed()) await stop();
});

describe('features served online are the features recomputed offline', () => {
  let report: RunReport;

  test(`in ${READS} reads, while things die, come back and are rebuilt`, { timeout: RUN_MS }, async () => {
    report = await checkRun({
      reads: READS,
      seed: 20,
      servers,
      size: { ...WORLD_SIZE, rows: 4_000 },
      readsPerWorld: 25_000,
      witnessed: 1_000,
      rebuildLaws: 1,
    });
    const explained = await Promise.all(
      report.failures.map(({ report: world, mismatches, kind }) =>
        explainMismatch({ report: world, mismatch: mismatches[0]!, kind }, servers),
      ),
    );
    expect(explained).toEqual([]);
    expect(report.mismatched).toBe(0);
    expect(report.broken).toEqual([]);
    expect(report.reads).toBeGreaterThanOrEqual(READS);
  });

  test('and the reads have met every hazard often enough', () => {
    expect(report.coverage.missing).toEqual([]);
    expect(report.flips).toBeGreaterThan(100);
    expect(report.kills).toBeGreaterThan(0);
    expect(report.reconnections).toBeGreaterThan(0);
    expect(report.rebuilds).toBeGreaterThan(0);
  });
});

describe('the check finds', () => {
  test.each(FAULTS.map((fault) => [fault.name, fault] as const))('%s', { timeout: 120_000 }, async (_, fault) => {
    const hunt = await findFault({ fault, seed: 3, servers });
    expect(hunt.found, `${fault.what}: not seen in ${READS_TO_FIND} reads`).not.toBeNull();
    expect(hunt.reads).toBeLessThanOrEqual(READS_TO_FIND);
  });

  test('and shrinks what it finds to a case that the suite can read', { timeout: 120_000 }, async () => {
    const fault = FAULTS.find(({ name }) => name === 'filter-first')!;
    const { found } = await findFault({ fault, seed: 3, servers });
    const { rows, repeats } = await isolate(found!, servers, fault);
    expect(repeats).toBe(true);
    // the row, and the correction that the fault does not see
    expect(rows.length).toBeLessThanOrEqual(2);
    const printed = await explainMismatch(found!, servers, fault);
    const [read] = readCaseFile(printed.split('\n').at(-1)!, 'printed');
    expect(read).toMatchObject({ topic: 'skew', views: [{ name: 'city_nights', boundary: 'exclusive' }] });
  });
});
