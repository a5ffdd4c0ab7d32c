import { setCurrentDetails } from '@temporalio/workflow';
import { data } from './activity-proxies.ts';
import type { CompactLogInput, CompactLogResult } from './messages.ts';

/**
 * Brings the many small files of a source's log together, a few at a time. Readers see the same rows before, meanwhile and
 * after; datasets keep the files that their manifests name.
 */
export async function compactLog(input: CompactLogInput): Promise<CompactLogResult> {
  setCurrentDetails(`Compacting the log of **${input.source}**`);
  const result = await data.compactLog.executeWithOptions({ summary: input.source }, [input]);
  setCurrentDetails(
    `The log of **${input.source}** has ${result.files} files: ${result.filesMerged} were brought together, ${result.rows} rows were written`,
  );
  return result;
}
