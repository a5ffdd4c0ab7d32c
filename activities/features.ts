import { getLastSequence, listLogFiles } from '../db/ingest.ts';
import { getProject } from '../db/projects.ts';
import { resetProgress } from '../db/view-progress.ts';
import { SerinError } from '../domain/errors.ts';
import { versioned } from '../domain/project/spec.ts';
import type { Micros } from '../domain/time.ts';
import { compileView } from '../features/kernel/compiled-view.ts';
import { DuckDb } from '../features/offline/duckdb.ts';
import { materializeView } from '../features/online/materialize.ts';
import type { MaterializeFeaturesResult } from '../workflows/messages.ts';
import { type Dependencies, duckdbSettings } from './dependencies.ts';
import { withHeartbeat } from './heartbeat.ts';

export function createFeatureActivities({ db, onlineStore: store, blobs, config, now }: Dependencies) {
  return {
    /** The views that a project's current version declares, each with its source; `only` narrows them down. */
    async listViews({
      project,
      only,
    }: {
      project: string;
      only?: readonly string[];
    }): Promise<readonly { view: string; source: string }[]> {
      const { spec } = await getProject(db, project);
      const views = spec.views.map((view) => ({ view: versioned(view), source: view.source }));
      const unknown = only?.find((name) => !views.some(({ view }) => view === name));
      if (unknown !== undefined) {
        throw new SerinError(
          'REFERENCE_MISSING',
          `the project "${project}" has no view ${unknown}; it has ${views.map(({ view }) => view).join(', ')}`,
        );
      }
      return views.filter(({ view }) => only === undefined || only.includes(view));
    },

    async getLastSequence({ source }: { source: string }): Promise<{ lastSeq: number }> {
      return { lastSeq: await getLastSequence(db, source) };
    },

    /** Builds the view's states aside and puts them in place with their cursor in one transaction: a retry builds them again. */
    async materializeView(input: {
      project: string;
      view: string;
      upToSeq: number;
      foldAt: Micros;
    }): Promise<MaterializeFeaturesResult['views'][number]> {
      const { spec } = await getProject(db, input.project);
      const view = spec.views.find((each) => versioned(each) === input.view);
      if (view === undefined)
        throw new SerinError('REFERENCE_MISSING', `the project "${input.project}" has no view ${input.view} any more`);
      const source = spec.sources.find(({ name }) => name === view.source)!;
      const entity = spec.entities.find(({ name }) => name === view.entity)!;
      return withHeartbeat(async ({ signal, progress }) => {
        const logFiles = await listLogFiles(db, source.name);
        const duckdb = await DuckDb.open(duckdbSettings(config));
        try {
          const { keys, events } = await materializeView({
            view: compileView(view, source, entity),
            definition: { view, source },
            logFiles,
            upToSeq: input.upToSeq,
            foldAt: input.foldAt,
            blobs,
            duckdb,
            store,
            onProgress: progress,
            signal,
          });
          await resetProgress(db, [{ viewId: input.view, source: source.name, appliedSeq: input.upToSeq }], now());
          return { viewId: input.view, keys, events, appliedSeq: input.upToSeq };
        } finally {
          duckdb.close();
        }
      });
    },
  };
}
