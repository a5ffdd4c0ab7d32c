import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  ApplicationFailure,
  getExternalWorkflowHandle,
  isCancellation,
  ParentClosePolicy,
  setCurrentDetails,
  startChild,
} from '@temporalio/workflow';
import { data } from './activity-proxies.ts';
import { compactLog } from './compact-log.ts';
import { type IngestSourceInput, type IngestSourceResult, rowsCameSignal } from './messages.ts';
import { refreshViews } from './refresh-views.ts';

/** Each try after the first means that the refresh ended between two looks at it. */
const REFRESH_TRIES = 10;

/**
 * Takes one batch of events into a source's log: checks every row against the source's contract, sets bad rows aside with
 * their reasons, writes immutable files and makes them part of the log in one step. Idempotent per batch. When the log has
 * come to have many files, their compaction is started and left to itself; so is, after a file, the refresh of the online views
 * that are in use.
 */
export async function ingestSource(input: IngestSourceInput): Promise<IngestSourceResult> {
  const from = input.input.kind === 'file' ? input.input.path : `pushed events up to ${input.input.upToSeq}`;
  setCurrentDetails(`Ingesting batch **${input.batchId}** of **${input.source}** from ${from}`);
  const result = await data.ingestBatch.executeWithOptions({ summary: `${input.source} ← ${input.batchId}` }, [input]);
  const set = Object.entries(result.quarantined).map(([reason, rows]) => `- ${reason}: ${rows}`);
  setCurrentDetails(
    `Batch **${input.batchId}** of **${input.source}**: ${result.rowsAccepted} of ${result.rowsIn} rows accepted\n${set.join('\n')}`,
  );
  if (result.compactionDue === true) await startCompaction(input.source);
  if (result.refreshDue === true) await startRefresh(input.source);
  return result;
}

async function startCompaction(source: string): Promise<void> {
  try {
    await startChild(compactLog, {
      workflowId: `compact/${source}`,
      args: [{ source }],
      parentClosePolicy: ParentClosePolicy.ABANDON,
    });
  } catch (error) {
    // one is at work, and looks again at what is there before it ends
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
  }
}

/** One at a time for a source: one that is under way is told to look again. */
async function startRefresh(source: string): Promise<void> {
  const workflowId = `refresh/${source}`;
  for (let tries = 0; tries < REFRESH_TRIES; tries += 1) {
    try {
      await startChild(refreshViews, {
        workflowId,
        args: [{ source }],
        parentClosePolicy: ParentClosePolicy.ABANDON,
      });
      return;
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    }
    try {
      await getExternalWorkflowHandle(workflowId).signal(rowsCameSignal);
      return;
    } catch (error) {
      // it has just ended: another one is started
      if (isCancellation(error)) throw error;
    }
  }
  throw ApplicationFailure.nonRetryable(`the refresh of ${source} could neither be started nor told to look again`);
}
