import { activityInfo } from '@temporalio/activity';
import type { DatasetDiff, RowExplanation } from '../domain/features/dataset-explanation.ts';
import type {
  BuildDatasetInput,
  BuildDatasetResult,
  DiffDatasetsInput,
  ExplainRowInput,
  RebuildDatasetInput,
  RebuildDatasetResult,
} from '../workflows/messages.ts';
import { createDatasetBuilds, type DatasetHeartbeat } from './dataset-builds.ts';
import type { Dependencies } from './dependencies.ts';
import { withHeartbeat } from './heartbeat.ts';

export function createDatasetActivities(dependencies: Dependencies) {
  const builds = createDatasetBuilds(dependencies);
  return {
    /** The dataset is named by its content, so building it twice gives one dataset; a retry finds the chunks of the last attempt. */
    async buildDataset(input: BuildDatasetInput): Promise<BuildDatasetResult> {
      const earlier = (activityInfo().heartbeatDetails as DatasetHeartbeat | undefined) ?? null;
      return withHeartbeat((beating) => builds.build(input, beating, earlier));
    },

    /** Running it twice leaves the same blobs; a retry finds the chunks of the last attempt. */
    async rebuildDataset(input: RebuildDatasetInput): Promise<RebuildDatasetResult> {
      const earlier = (activityInfo().heartbeatDetails as DatasetHeartbeat | undefined) ?? null;
      return withHeartbeat((beating) => builds.rebuild(input, beating, earlier));
    },

    /** Reads alone: nothing is left behind, so a retry is as good as the first attempt. */
    async diffDatasets(input: DiffDatasetsInput): Promise<DatasetDiff> {
      return withHeartbeat(({ signal }) => builds.diff(input, signal));
    },

    /** Reads alone, as `diffDatasets`. */
    async explainRow(input: ExplainRowInput): Promise<RowExplanation> {
      return withHeartbeat(({ signal }) => builds.explain(input, signal));
    },
  };
}
