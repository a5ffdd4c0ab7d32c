import { getLastSequence, listLogFiles, readBuffer } from '../db/ingest.ts';
import { getProject } from '../db/projects.ts';
import { SerinError } from '../domain/errors.ts';
import { versioned } from '../domain/project/spec.ts';
import type { Micros } from '../domain/time.ts';
import { compileView } from '../features/kernel/view-plan.ts';
import { materializeView } from '../features/online/materialize.ts';
import { createPostgresStore } from '../features/online/postgres-store.ts';
import type { MaterializeFeaturesResult } from '../workflows/messages.ts';
import type { Dependencies } from './dependencies.ts';
import { withHeartbeat } from './heartbeat.ts';

export function createFeatureActivities({ db, pool, blobs, config }: Dependencies) {
  const store = createPostgresStore(pool);
  const duckdb = { memory: config.duckdbMemory, threads: config.duckdbThreads, tempDir: config.workDir };

  return {
    /** The views that a project's current version declares, as `name@version`. */
    async listViews({ project }: { project: string }): Promise<readonly string[]> {
      const { spec } = await getProject(db, project);
      return spec.views.map(versioned);
    },

    /** Builds the view's state aside and swaps it in with its cursor in one transaction: a retry builds it again. */
    async materializeView({
      project,
      view: viewId,
      foldAt,
    }: {
      project: string;
      view: string;
      foldAt: Micros;
    }): Promise<MaterializeFeaturesResult['views'][number]> {
      const { spec } = await getProject(db, project);
      const view = spec.views.find((each) => versioned(each) === viewId);
      if (view === undefined) {
        throw new SerinError('REFERENCE_MISSING', `the project "${project}" has no view ${viewId}; it has ${spec.views.map(versioned).join(', ')}`);
      }
      const source = spec.sources.find(({ name }) => name === view.source)!;
      const entity = spec.entities.find(({ name }) => name === view.entity)!;
      return withHeartbeat(async ({ signal, progress }) => {
        const logFiles = await listLogFiles(db, source.name);
        const upToSeq = await getLastSequence(db, source.name);
        const buffered = await readBuffer(db, { source: source.name, afterSeq: 0, upToSeq, limit: 1_000_000 });
        const result = await materializeView({
          plan: compileView(view, source, entity),
          source,
          logFiles,
          buffered,
          upToSeq,
          foldAt,
          blobs,
          store,
          duckdb,
          onProgress: progress,
          signal,
        });
        return { viewId, keys: result.keys, events: result.events, appliedSeq: upToSeq };
      });
    },
  };
}
