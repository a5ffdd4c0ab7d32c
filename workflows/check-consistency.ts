import {
  ActivityFailure,
  allHandlersFinished,
  condition,
  continueAsNew,
  isCancellation,
  setCurrentDetails,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import { control, data } from './activity-proxies.ts';
import {
  type CheckConsistencyInput,
  type CheckConsistencyResult,
  consistencyQuery,
  type ConsistencyStatus,
} from './messages.ts';
import { tagModel } from './search-attributes.ts';

/** A run this long continues as new even if the server has not suggested it. */
const LOOKS_PER_RUN = 200;
/** What a look without a predecessor goes back. */
const HOUR_MS = 3_600_000;

/**
 * Holds the features of logged answers against the log, and alerts on the first that differs: once, or, with `everyMs`, for as
 * long as the model lives, each look from the end of the last one on.
 */
export async function checkConsistency(input: CheckConsistencyInput): Promise<CheckConsistencyResult> {
  const { model, everyMs = null } = input;
  let status: ConsistencyStatus = input.carried ?? { looks: 0, last: null, failure: null };
  setHandler(consistencyQuery, () => status, { description: 'What was found last' });
  tagModel(model);
  if (everyMs === null) {
    const result = await look(model, null, HOUR_MS);
    setCurrentDetails(result.sentence);
    return result;
  }
  for (let looks = 0; looks < LOOKS_PER_RUN && !workflowInfo().continueAsNewSuggested; looks += 1) {
    status = await lookAgain(model, status, everyMs);
    setCurrentDetails(`**${status.looks}** looks so far\n\n${status.failure ?? status.last?.sentence ?? ''}`);
    await sleep(everyMs, { summary: 'until the next look' });
  }
  await condition(allHandlersFinished);
  return continueAsNew<typeof checkConsistency>({ model, everyMs, carried: status });
}

/** A look that fails becomes part of the next: the check goes on, and says so. */
async function lookAgain(model: string, before: ConsistencyStatus, everyMs: number): Promise<ConsistencyStatus> {
  try {
    const last = await look(model, before.last?.windowEnd ?? null, everyMs);
    return { looks: before.looks + 1, last, failure: null };
  } catch (error) {
    if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
    return { ...before, failure: `the last look failed: ${error.cause?.message ?? error.message}` };
  }
}

async function look(model: string, after: number | null, windowMs: number): Promise<CheckConsistencyResult> {
  const { sources } = await control.getConsistencyPlan({ model });
  // the log is the witness: what was pushed so far goes into it first
  for (const { source, lastSeq: upToSeq } of sources) {
    if (upToSeq === 0) continue;
    const input = { kind: 'pushed', upToSeq } as const;
    await data.ingestBatch.executeWithOptions({ summary: `${source} ← pushed` }, [
      { source, batchId: `pushed-${upToSeq}`, input },
    ]);
  }
  return data.checkConsistency({ model, after, windowMicros: windowMs * 1_000 });
}
