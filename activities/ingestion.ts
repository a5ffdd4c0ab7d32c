import { listLogFiles } from '../db/ingest.ts';
import { getProjectOfSource } from '../db/projects.ts';
import { listStaleViews } from '../db/shadows.ts';
import { nextCompaction } from '../domain/features/log-compaction.ts';
import { keysOfSource } from '../domain/features/row-contract.ts';
import type {
  CompactLogInput,
  CompactLogResult,
  IngestSourceInput,
  IngestSourceResult,
} from '../workflows/messages.ts';
import type { Dependencies } from './dependencies.ts';
import { withHeartbeat } from './heartbeat.ts';
import { createIngestion } from './ingest-batch.ts';
import { createLogUpkeep } from './log-upkeep.ts';

export function createIngestionActivities(dependencies: Dependencies) {
  const { db } = dependencies;
  const upkeep = createLogUpkeep(dependencies);
  const ingestion = createIngestion(dependencies, upkeep);

  return {
    /**
     * Files are written first and become the log in one transaction, keyed by the batch: a retry either finds the batch done or
     * writes anew, and what an earlier attempt wrote is never visible.
     */
    async ingestBatch({ source: name, batchId, input }: IngestSourceInput): Promise<IngestSourceResult> {
      const { spec } = await getProjectOfSource(db, name);
      const source = spec.sources.find((each) => each.name === name)!;
      const result = await withHeartbeat((beating) =>
        input.kind === 'file'
          ? ingestion.ingestFromFile({ source, keys: keysOfSource(spec, name), batchId, input }, beating)
          : ingestion.ingestPushed({ source, batchId, upToSeq: input.upToSeq }, beating),
      );
      return {
        ...result,
        compactionDue: nextCompaction(await listLogFiles(db, name)) !== null,
        // also when the batch was there: an earlier attempt may have died before it could say so
        refreshDue: input.kind === 'file' && (await listStaleViews(db, name)).length > 0,
      };
    },

    /**
     * Brings the files of a source's log together until there is nothing to bring together. Each merge is a step of its own: a
     * retry goes on with what is left, and a merge of files that are gone meanwhile changes nothing.
     */
    async compactLog({ source: name }: CompactLogInput): Promise<CompactLogResult> {
      const { spec } = await getProjectOfSource(db, name);
      const source = spec.sources.find((each) => each.name === name)!;
      return withHeartbeat((beating) => upkeep.compact(source, beating));
    },
  };
}
