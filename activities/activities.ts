import { createAsyncInferenceActivities } from './async-inference.ts';
import { createBatchScoringActivities } from './batch-scoring.ts';
import { createConsistencyActivities } from './consistency.ts';
import { createDatasetActivities } from './datasets.ts';
import type { Dependencies } from './dependencies.ts';
import { createFeatureActivities } from './features.ts';
import { createForgettingActivities } from './forgetting.ts';
import { createIngestionActivities } from './ingestion.ts';
import { createMonitoringActivities } from './monitoring.ts';
import { createPredictionExportActivities } from './prediction-exports.ts';
import { createRolloutActivities } from './rollouts.ts';
import { createTrafficActivities } from './traffic.ts';
import { createTrainingActivities } from './training.ts';

/** Every side effect a workflow can ask for. */
export function createActivities(dependencies: Dependencies) {
  return {
    ...createIngestionActivities(dependencies),
    ...createFeatureActivities(dependencies),
    ...createDatasetActivities(dependencies),
    ...createForgettingActivities(dependencies),
    ...createTrainingActivities(dependencies),
    ...createTrafficActivities(dependencies),
    ...createRolloutActivities(dependencies),
    ...createMonitoringActivities(dependencies),
    ...createConsistencyActivities(dependencies),
    ...createPredictionExportActivities(dependencies),
    ...createBatchScoringActivities(dependencies),
    ...createAsyncInferenceActivities(dependencies),
  };
}

/** All that a workflow may import of this folder. */
export type Activities = ReturnType<typeof createActivities>;
