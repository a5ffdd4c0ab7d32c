import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { ParentClosePolicy, setCurrentDetails, startChild } from '@temporalio/workflow';
import { data } from './activity-proxies.ts';
import { compactLog } from './compact-log.ts';
import type { IngestSourceInput, IngestSourceResult } from './messages.ts';

/**
 * Takes one batch of events into a source's log: checks every row against the source's contract, sets bad rows aside with
 * their reasons, writes immutable files and makes them part of the log in one step. Idempotent per batch. When the log has
 * come to have many files, their compaction is started and left to itself.
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
