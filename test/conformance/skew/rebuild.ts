/**
 * A view built again while it is read and fed, as the materialization workflow does it: a shadow is filled from the Parquet
 * log, fed what has come since, and takes the view's place once it is not behind.
 */
import type { ProjectSpec } from '../../../domain/project/spec.ts';
import type { CompiledView } from '../../../features/kernel/compiled-view.ts';
import type { DuckDb } from '../../../features/offline/duckdb.ts';
import { applyToView, FOLD_LAG_MICROS } from '../../../features/online/apply-events.ts';
import { chunksOf, dropAll, putEntries } from '../../../features/online/guarded-write.ts';
import { statesOfLog } from '../../../features/online/log-states.ts';
import { type OnlineStore, shadowIdOf } from '../../../features/online/online-store.ts';
import type { BlobStore } from '../../../domain/blob.ts';
import type { SourceFeed } from './feeding.ts';
import { writeLogFiles } from './log.ts';
import type { World } from './world.ts';

export interface RebuildRequest {
  readonly project: ProjectSpec;
  readonly world: World;
  readonly view: CompiledView;
  /** The feed that the view is of. */
  readonly feed: SourceFeed;
  /** The log holds the world's first `rows` rows. */
  readonly rows: number;
  readonly store: OnlineStore;
  readonly duckdb: DuckDb;
  readonly blobs: BlobStore;
  readonly dir: string;
}

export async function rebuildView(request: RebuildRequest): Promise<void> {
  const { project, world, view, feed, rows, store, duckdb, blobs, dir } = request;
  const definition = definitionOf(project, view);
  const upToSeq = feed.arrived(rows);
  if (upToSeq === 0) return;
  const logged = world.rows.slice(0, rows).filter(({ source }) => source === feed.source);
  const logFiles = await writeLogFiles(duckdb, definition.source, logged, dir, blobs);
  const foldAt = world.rows[rows - 1]!.clockAt - FOLD_LAG_MICROS;
  const shadow = shadowIdOf(view.plan.id, 'rebuild');
  await dropAll(store, shadow);
  const cursor = { source: feed.source, appliedSeq: upToSeq, foldedAt: foldAt };
  const entries = statesOfLog({ view, definition, logFiles, upToSeq, foldAt, blobs, duckdb });
  let isFilled = false;
  for await (const chunk of chunksOf(entries)) {
    await putEntries(store, shadow, chunk, cursor);
    isFilled = true;
  }
  if (!isFilled) await putEntries(store, shadow, [], cursor);
  for (;;) {
    if (await store.exchange(view.plan.id, shadow, { notBehind: true })) break;
    const cursors = await store.cursors([view.plan.id, shadow]);
    const from = cursors.get(shadow)!.appliedSeq;
    const toSeq = cursors.get(view.plan.id)!.appliedSeq;
    const events = feed.events.slice(from, toSeq).filter((event) => event !== null);
    await applyToView({ view, events, fromSeqExclusive: from, toSeq, store, viewId: shadow });
  }
  await dropAll(store, shadow);
}

function definitionOf(project: ProjectSpec, { plan }: CompiledView) {
  const view = project.views.find(({ name, version }) => `${name}@${version}` === plan.id)!;
  return { view, source: project.sources.find(({ name }) => name === view.source)! };
}
