import { setCurrentDetails } from '@temporalio/workflow';
import { data } from './activity-proxies.ts';
import type { IngestSourceInput, IngestSourceResult } from './messages.ts';

/**
 * Takes one batch of events into a source's log: checks every row against the source's contract, sets bad rows aside with
 * their reasons, writes immutable files and makes them part of the log in one step. Idempotent per batch.
 */
export async function ingestSource(input: IngestSourceInput): Promise<IngestSourceResult> {
  const from = input.input.kind === 'file' ? input.input.path : `pushed events up to ${input.input.upToSeq}`;
  setCurrentDetails(`Ingesting batch **${input.batchId}** of **${input.source}** from ${from}`);
  const result = await data.ingestBatch.executeWithOptions({ summary: `${input.source} ← ${input.batchId}` }, [input]);
  const set = Object.entries(result.quarantined).map(([reason, rows]) => `- ${reason}: ${rows}`);
  setCurrentDetails(
    `Batch **${input.batchId}** of **${input.source}**: ${result.rowsAccepted} of ${result.rowsIn} rows accepted\n${set.join('\n')}`,
  );
  return result;
}
