import { ApplicationFailure, CancellationScope, setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import { control, data } from './activity-proxies.ts';
import type { MaterializeFeaturesInput, MaterializeFeaturesResult } from './messages.ts';

type BuiltView = MaterializeFeaturesResult['views'][number];
type Say = (step: string) => void;

/** A view is built again when an entity was forgotten meanwhile. */
const BUILDS_MAX = 5;

/**
 * Brings the online store up to date from the log: every view is built anew beside the one in use, held against the log, and
 * put in its place at once. What fails leaves the view as it was.
 */
export async function materializeFeatures(input: MaterializeFeaturesInput): Promise<MaterializeFeaturesResult> {
  const views = await control.listViews({
    project: input.project,
    ...(input.views !== undefined && { only: input.views }),
  });
  const done: BuiltView[] = [];
  for (const { view, source } of views) {
    const say: Say = (step) => {
      setCurrentDetails(`**${view}** (${done.length + 1} of ${views.length}): ${step}`);
    };
    done.push(await buildView(input, view, source, say));
  }
  setCurrentDetails(
    done
      .map(
        ({ viewId, keys, events, checked }) =>
          `- **${viewId}**: ${keys} keys from ${events} events, ${checked} keys held against the log`,
      )
      .join('\n'),
  );
  return { views: done };
}

async function buildView(input: MaterializeFeaturesInput, view: string, source: string, say: Say): Promise<BuiltView> {
  for (let build = 1; build <= BUILDS_MAX; build += 1) {
    const built = await buildOnce(input, view, source, `${workflowInfo().runId}-${build}`, say);
    if (built !== null) return built;
  }
  throw ApplicationFailure.create({
    type: 'MATERIALIZATION_OUTDATED',
    nonRetryable: true,
    message: `entities were forgotten while ${view} was built, ${BUILDS_MAX} times; the view in use is as it was: start again when they are done`,
  });
}

/** @returns null when an entity was forgotten meanwhile: what was built may hold it */
async function buildOnce(
  { project, foldAt, keysPerSecond, parts }: MaterializeFeaturesInput,
  view: string,
  source: string,
  label: string,
  say: Say,
): Promise<BuiltView | null> {
  say('beginning');
  const { shadowId } = await control.openShadow({ project, view, label });
  try {
    // what was pushed so far goes to the log first: a view is built from the log alone, and fed what comes later
    const { lastSeq: upToSeq } = await control.getLastSequence({ source });
    const pushed = { kind: 'pushed', upToSeq } as const;
    await data.ingestBatch.executeWithOptions({ summary: `${source} ← pushed` }, [
      { source, batchId: `pushed-${upToSeq}`, input: pushed },
    ]);
    const build = { project, view, shadowId, upToSeq, foldAt };
    say('building from the log');
    const filled = await data.fillShadow.executeWithOptions({ summary: view }, [
      {
        ...build,
        ...(keysPerSecond !== undefined && { keysPerSecond }),
        ...(parts !== undefined && { parts }),
      },
    ]);
    const { keys, events } = filled;
    say(`holding ${keys} keys against the log`);
    const { checked, verdict } = await data.checkShadow.executeWithOptions({ summary: view }, [
      { ...build, ...filled },
    ]);
    if (verdict === 'outdated') return null;
    say('taking its place');
    const swapped = await data.swapShadow.executeWithOptions({ summary: view }, [{ ...build, ...filled }]);
    if (swapped.verdict === 'outdated') return null;
    return { viewId: view, keys, events, appliedSeq: upToSeq, checked };
  } finally {
    // the old rows, or what was built in vain
    await CancellationScope.nonCancellable(() => data.dropShadow.executeWithOptions({ summary: view }, [{ shadowId }]));
  }
}
