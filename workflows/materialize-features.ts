import { setCurrentDetails } from '@temporalio/workflow';
import { control, data } from './activity-proxies.ts';
import type { MaterializeFeaturesInput, MaterializeFeaturesResult } from './messages.ts';

/** Brings the online store up to date from the log: every view is rebuilt aside and swapped in whole. */
export async function materializeFeatures(input: MaterializeFeaturesInput): Promise<MaterializeFeaturesResult> {
  const views = await control.listViews({
    project: input.project,
    ...(input.views !== undefined && { only: input.views }),
  });
  const done: MaterializeFeaturesResult['views'][number][] = [];
  const logged = new Map<string, number>();
  for (const { view, source } of views) {
    setCurrentDetails(`Materializing **${view}** (${done.length + 1} of ${views.length})`);
    // what was pushed so far goes to the log first: a view is rebuilt from the log alone, what comes later is streamed into it
    let upToSeq = logged.get(source);
    if (upToSeq === undefined) {
      upToSeq = (await control.getLastSequence({ source })).lastSeq;
      const input = { kind: 'pushed', upToSeq } as const;
      await data.ingestBatch.executeWithOptions({ summary: `${source} ← pushed` }, [
        { source, batchId: `pushed-${upToSeq}`, input },
      ]);
      logged.set(source, upToSeq);
    }
    done.push(
      await data.materializeView.executeWithOptions({ summary: view }, [
        { project: input.project, view, upToSeq, foldAt: input.foldAt },
      ]),
    );
  }
  setCurrentDetails(
    done.map(({ viewId, keys, events }) => `- **${viewId}**: ${keys} keys from ${events} events`).join('\n'),
  );
  return { views: done };
}
