import { setCurrentDetails } from '@temporalio/workflow';
import { control, data } from './activity-proxies.ts';
import type { MaterializeFeaturesInput, MaterializeFeaturesResult } from './messages.ts';

/** Brings the online store up to date from the log: every view is rebuilt aside and swapped in whole. */
export async function materializeFeatures(input: MaterializeFeaturesInput): Promise<MaterializeFeaturesResult> {
  const views = input.views ?? (await control.listViews({ project: input.project }));
  const done: MaterializeFeaturesResult['views'][number][] = [];
  for (const view of views) {
    setCurrentDetails(`Materializing **${view}** (${done.length + 1} of ${views.length})`);
    done.push(
      await data.materializeView.executeWithOptions({ summary: view }, [{ project: input.project, view, foldAt: input.foldAt }]),
    );
  }
  setCurrentDetails(done.map(({ viewId, keys, events }) => `- **${viewId}**: ${keys} keys from ${events} events`).join('\n'));
  return { views: done };
}
