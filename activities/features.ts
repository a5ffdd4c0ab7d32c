import { activityInfo } from '@temporalio/activity';
import { getLastSequence } from '../db/ingest.ts';
import { getProject, getProjectOfSource } from '../db/projects.ts';
import { listStaleViews } from '../db/shadows.ts';
import { SerinError } from '../domain/errors.ts';
import { versioned } from '../domain/project/spec.ts';
import type { Micros } from '../domain/time.ts';
import type { FilledShadow, FillPlan, ShadowBuild, ShadowVerdict } from '../workflows/messages.ts';
import type { Dependencies } from './dependencies.ts';
import { withHeartbeat } from './heartbeat.ts';
import { createMaterialization, type FillReport } from './materialization.ts';

export function createFeatureActivities(dependencies: Dependencies) {
  const { db, onlineStore: store } = dependencies;
  const materialization = createMaterialization(dependencies);
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

    /** Views in use of a source that lack rows of files, each with the fold point that it has now. */
    async listStaleViews({
      source,
    }: {
      source: string;
    }): Promise<{ project: string; views: readonly { view: string; foldAt: Micros }[] }> {
      const { spec } = await getProjectOfSource(db, source);
      const declared = new Set(spec.views.map(versioned));
      const stale = (await listStaleViews(db, source)).filter((view) => declared.has(view));
      const cursors = await store.cursors(stale);
      return {
        project: spec.name,
        // a view whose store is empty is not in use: it begins with a materialisation that somebody asks for
        views: stale.flatMap((view) => {
          const cursor = cursors.get(view);
          return cursor === undefined ? [] : [{ view, foldAt: cursor.foldedAt ?? Number.MIN_SAFE_INTEGER + 1 }];
        }),
      };
    },

    async getLastSequence({ source }: { source: string }): Promise<{ lastSeq: number }> {
      return { lastSeq: await getLastSequence(db, source) };
    },

    async openShadow(input: { project: string; view: string; label: string }): Promise<{ shadowId: string }> {
      return materialization.open(input);
    },

    /** A retry goes on at the part that the last heartbeat says. */
    async fillShadow(input: ShadowBuild & FillPlan): Promise<FilledShadow> {
      const last = (activityInfo().heartbeatDetails ?? null) as FillReport | null;
      return withHeartbeat((beating) => {
        if (last !== null) beating.progress(last);
        return materialization.fill(input, beating, last);
      });
    },

    async checkShadow(input: ShadowBuild & FilledShadow): Promise<{ checked: number; verdict: ShadowVerdict }> {
      return withHeartbeat((beating) => materialization.check(input, beating));
    },

    async swapShadow(input: ShadowBuild & FilledShadow): Promise<{ verdict: ShadowVerdict }> {
      return withHeartbeat((beating) => materialization.swap(input, beating));
    },

    async dropShadow(input: { shadowId: string }): Promise<void> {
      return withHeartbeat((beating) => materialization.drop(input, beating));
    },
  };
}
