/** Reads of the online store beside a hand-written store and Feast, alternating in one run. */
import { encodeKey } from '../../features/kernel/key-encoding.ts';
import type { OnlineStore } from '../../features/online/online-store.ts';
import { compileFeatureReader } from '../../features/reader/feature-reader.ts';
import type { ProjectSpec } from '../../domain/project/spec.ts';
import type { FeastPeer } from './feast-peer.ts';
import { quantile } from './latencies.ts';
import { FEATURE_SET, valueOf } from './reading-project.ts';
import type { HandStore } from './stored-data.ts';

export interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly reads: number;
}

export interface ReadLine {
  readonly store: string;
  readonly entities: number;
  /** Milliseconds, in a closed loop of one. `bytes`: what is stored, as it is; `values`: the feature values. */
  readonly handBytes: Latency;
  readonly serinBytes: Latency;
  readonly handValues: Latency;
  readonly serinValues: Latency;
  readonly feastSdk: Latency | null;
  readonly feastHttp: Latency | null;
}

export interface ReadBench {
  readonly name: string;
  readonly store: OnlineStore;
  readonly hand: HandStore;
  readonly feast: FeastPeer | null;
  readonly project: ProjectSpec;
  readonly customers: number;
  readonly rounds: number;
  readonly msEach: number;
}

const WARM_MS = 300;

export async function measureReads(bench: ReadBench, entities: number): Promise<ReadLine> {
  const { store, hand, feast, project, customers, rounds, msEach } = bench;
  const reader = compileFeatureReader(project, FEATURE_SET);
  const parts = project.entities[0]!.keys;
  const viewIds = project.views.map(({ name }) => `${name}@1`);
  const customer = (): number => Math.floor(Math.random() * customers);
  const pick = (): number[] => Array.from({ length: entities }, customer);
  const features = project.views[0]!.features.length;

  const contenders = {
    handBytes: () => hand.read(pick()),
    serinBytes: () =>
      store.read(pick().flatMap((id) => viewIds.map((viewId) => ({ viewId, key: encodeKey(parts, [id])! })))),
    handValues: () => hand.readNumbers(pick()),
    async serinValues() {
      const asked = pick();
      const asOf = Date.now() * 1_000;
      const { values } = await reader.read(
        store,
        asked.map((id) => ({ request: { customer: id }, asOf })),
      );
      const last = asked.length - 1;
      if (values[last * reader.columns.length + 1] !== valueOf(0, 1, asked[last]!)) throw new Error('a wrong value');
      return values;
    },
  } as const;
  const latencies = {
    handBytes: [],
    serinBytes: [],
    handValues: [],
    serinValues: [],
    feastSdk: [],
    feastHttp: [],
  } as Record<keyof typeof contenders | 'feastSdk' | 'feastHttp', number[]>;
  if (features < 2) throw new RangeError('values are checked by the second feature');
  for (const read of Object.values(contenders)) await closedLoop(read, WARM_MS);
  for (let round = 0; round < rounds; round++) {
    for (const [name, read] of Object.entries(contenders)) {
      latencies[name as keyof typeof contenders].push(...(await closedLoop(read, msEach)));
    }
    if (feast === null) continue;
    latencies.feastSdk.push(...(await feast.sdk(entities, msEach, round)));
    latencies.feastHttp.push(...(await feast.http(entities, msEach, customer)));
  }
  const of = (values: readonly number[]): Latency => ({
    p50: quantile(values, 0.5),
    p99: quantile(values, 0.99),
    reads: values.length,
  });
  return {
    store: bench.name,
    entities,
    handBytes: of(latencies.handBytes),
    serinBytes: of(latencies.serinBytes),
    handValues: of(latencies.handValues),
    serinValues: of(latencies.serinValues),
    feastSdk: feast === null ? null : of(latencies.feastSdk),
    feastHttp: feast === null ? null : of(latencies.feastHttp),
  };
}

async function closedLoop(read: () => Promise<unknown>, ms: number): Promise<number[]> {
  const latencies: number[] = [];
  const end = performance.now() + ms;
  while (performance.now() < end) {
    const begun = performance.now();
    await read();
    latencies.push(performance.now() - begun);
  }
  return latencies;
}

export interface ArrivalLine {
  readonly entities: number;
  readonly readsPerSecond: number;
  readonly latency: Latency;
  /** CPU of this process for a read, ms. */
  readonly cpuMs: number;
}

/**
 * Feature vectors at a fixed rate, whether or not the one before has come: each is timed from the instant it was due, so that
 * waiting behind a slow one counts.
 */
export async function measureArrivals(
  { store, project, customers }: Pick<ReadBench, 'store' | 'project' | 'customers'>,
  { entities, readsPerSecond, seconds }: { entities: number; readsPerSecond: number; seconds: number },
): Promise<ArrivalLine> {
  const reader = compileFeatureReader(project, FEATURE_SET);
  const read = (): Promise<unknown> => {
    const asOf = Date.now() * 1_000;
    const rows = Array.from({ length: entities }, () => ({
      request: { customer: Math.floor(Math.random() * customers) },
      asOf,
    }));
    return reader.read(store, rows);
  };
  await closedLoop(read, WARM_MS);
  // in a closed loop, because waiting for the next instant keeps the processor busy, too
  const cpu = process.cpuUsage();
  const alone = await closedLoop(read, WARM_MS * 3);
  const used = process.cpuUsage(cpu);
  const latencies: number[] = [];
  const pending: Promise<void>[] = [];
  const total = Math.round(seconds * readsPerSecond);
  const startedAt = performance.now();
  for (let i = 0; i < total; i++) {
    const dueAt = startedAt + (i * 1_000) / readsPerSecond;
    // timers are late by up to a millisecond or two: the last stretch is waited for turn by turn
    while (performance.now() < dueAt) {
      const left = dueAt - performance.now();
      await new Promise<void>((resolve) => (left > 3 ? setTimeout(resolve, left - 3) : setImmediate(resolve)));
    }
    pending.push(read().then(() => void latencies.push(performance.now() - dueAt)));
  }
  await Promise.all(pending);
  return {
    entities,
    readsPerSecond,
    latency: { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99), reads: latencies.length },
    cpuMs: (used.user + used.system) / 1_000 / alone.length,
  };
}
