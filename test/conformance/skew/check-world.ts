/** One world, run against one store and judged. */
import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProjectSpec } from '../../../domain/project/spec.ts';

import type { DuckDb } from '../../../features/offline/duckdb.ts';
import { dropAll } from '../../../features/online/guarded-write.ts';
import { openOnlineStore } from '../../../features/online/open-store.ts';
import { FileBlobStore } from '../../../platform/file-blob-store.ts';
import { type Applier, type ApplierHost, LocalApplier, ProcessApplier } from './applier.ts';
import { skewProject } from './definitions.ts';
import { bendView, type Fault } from './faults.ts';
import { compileViews, feedsOf } from './feeding.ts';
import { judge, type Judgement } from './judge.ts';
import { knowledgeGrows, lateRowsFlipOnce, rebuildsToTheSameBytes } from './laws.ts';
import { bentPath, servingPath } from './read-path.ts';
import { rebuildView } from './rebuild.ts';
import { type Hazards, runWorld, type WorldRun } from './run-world.ts';
import { Serving } from './serving.ts';
import { createRandom } from './random.ts';
import { createWorld, type World, type WorldSize } from './world.ts';

export interface CheckRequest {
  readonly seed: number;
  readonly size: WorldSize;
  readonly reads: number;
  readonly storeUrl: string;
  /** Cuts the connections with this name at the server. */
  readonly cut: (name: string) => Promise<void>;
  readonly duckdb: DuckDb;
  readonly dir: string;
  /** The process that applies, and is killed; null: this one does, and is not. */
  readonly host: ApplierHost | null;
  /** Of the reads, which brute force answers too. */
  readonly witnessShare: number;
  /** Wipes the store at the end and builds it again from the log. */
  readonly rebuildLaw: boolean;
  /** Whether views are built again while they serve; absent: yes. */
  readonly rebuild?: boolean;
  readonly fault?: Fault;
}

export interface WorldReport {
  readonly project: ProjectSpec;
  readonly world: World;
  readonly run: WorldRun;
  readonly judgement: Judgement;
  /** Sentences about laws that do not hold. */
  readonly broken: readonly string[];
  readonly flips: number;
}

/** Each world has views of its own in the store, which nothing else has written. */
let versions = 0;

export async function checkWorld(request: CheckRequest): Promise<WorldReport> {
  const { seed, size, storeUrl, host, fault, witnessShare, duckdb } = request;
  const version = ++versions;
  const project = skewProject(version);
  const world = createWorld(seed, size);
  const compiled = compileViews(project);
  const views = fault === undefined ? compiled : compiled.map((view) => bendView(view, fault));
  const feeds = feedsOf(project, world, views, fault?.events ?? null);
  const dir = join(request.dir, `world-${version}`);
  await mkdir(dir, { recursive: true });
  const readers = `skew-readers-${randomUUID().slice(0, 8)}`;
  const applying = openOnlineStore(storeUrl, { name: 'skew-writer', connections: 4 });
  let clock = world.startAt;
  const reading = fault?.reading;
  const serving = new Serving({
    project,
    path: fault === undefined ? servingPath(project) : bentPath(project, views, fault.keys),
    open: () => openOnlineStore(storeUrl, { name: readers, connections: 4 }),
    ...(reading === undefined ? {} : { wrap: (store) => reading(store, () => clock) }),
  });
  const writing = fault?.writing?.(applying.store) ?? applying.store;
  const applier: Applier =
    host === null
      ? new LocalApplier(world, feeds, writing)
      : new ProcessApplier(host, { seed, size, version, storeUrl });
  const random = createRandom(seed, 9);
  const hazards: Hazards = {
    ...(host === null ? {} : { kill: () => host.kill() }),
    cut: () => request.cut(readers),
    ...(request.rebuild === false
      ? {}
      : {
          rebuild: (rows: number) => {
            const view = random.pick(views);
            const feed = feeds.find((each) => each.views.includes(view))!;
            const blobs = new FileBlobStore(join(dir, 'blobs'));
            const parts = { project, world, view, feed, rows, duckdb, blobs };
            return rebuildView({ ...parts, store: applying.store, dir: join(dir, 'rebuild') });
          },
        }),
  };
  try {
    const run = await runWorld({
      project,
      world,
      reads: request.reads,
      applier,
      serving,
      hazards: fault === undefined ? hazards : {},
      onClock: (now) => (clock = now),
    });
    const judgement = await judge({ project, world, records: run.records, witnessShare }, duckdb, join(dir, 'log'));
    const { broken, flips } = lateRowsFlipOnce(project, run.pins, judgement.witnesses);
    const grown = knowledgeGrows(project, run.records);
    const rebuilt = request.rebuildLaw ? await rebuildsToTheSameBytes(world, views, feeds, applying.store) : [];
    return { project, world, run, judgement, broken: [...grown, ...broken, ...rebuilt], flips };
  } finally {
    await serving.close();
    for (const { plan } of views) await dropAll(applying.store, plan.id);
    await applying.close();
    await rm(dir, { recursive: true, force: true });
  }
}
