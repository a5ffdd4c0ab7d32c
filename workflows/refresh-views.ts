import {
  ChildWorkflowFailure,
  continueAsNew,
  executeChild,
  isCancellation,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { control } from './activity-proxies.ts';
import { materializeFeatures } from './materialize-features.ts';
import { type RefreshViewsInput, type RefreshViewsResult, rowsCameSignal } from './messages.ts';

/**
 * Brings the views of a source that are in use up to date after rows came in files: events that are pushed go straight into
 * them, a file's rows go into the log alone. Files that come while it builds are in its next round. A view that cannot be
 * built does not hold up the others.
 */
export async function refreshViews({ source }: RefreshViewsInput): Promise<RefreshViewsResult> {
  let came = true;
  setHandler(rowsCameSignal, () => void (came = true), { description: 'More rows came in a file' });
  const built: string[] = [];
  let failure: ChildWorkflowFailure | undefined;
  let builds = 0;
  while (came) {
    if (workflowInfo().continueAsNewSuggested) return continueAsNew<typeof refreshViews>({ source });
    came = false;
    failure = undefined;
    const { project, views } = await control.listStaleViews({ source });
    for (const { view, foldAt } of views) {
      builds += 1;
      setCurrentDetails(`Building **${view}** with the files that came to **${source}** (build ${builds})`);
      try {
        await executeChild(materializeFeatures, {
          workflowId: `refresh/${source}/${workflowInfo().runId}/${builds}`,
          args: [{ project, views: [view], foldAt }],
        });
        built.push(view);
      } catch (error) {
        if (isCancellation(error) || !(error instanceof ChildWorkflowFailure)) throw error;
        failure = error;
      }
    }
  }
  if (failure !== undefined) throw failure;
  setCurrentDetails(`Built: ${built.join(', ')}`);
  return { views: built };
}
