/** What the workers register: each exported function is a workflow type. */
export { buildDataset } from './build-dataset.ts';
export { checkConsistency } from './check-consistency.ts';
export { compactLog } from './compact-log.ts';
export { exportPredictions, findPrediction } from './export-predictions.ts';
export { forgetEntity } from './forget-entity.ts';
export { inferAsync } from './infer-async.ts';
export { ingestSource } from './ingest-source.ts';
export { diffDatasets, explainRow, rebuildDataset } from './inspect-dataset.ts';
export { materializeFeatures } from './materialize-features.ts';
export { modelLifecycle } from './model-lifecycle.ts';
export { monitorModel } from './monitor-model.ts';
export { refreshViews } from './refresh-views.ts';
export { rollbackModel } from './rollback-model.ts';
export { rolloutModel } from './rollout-model.ts';
export { scoreBatch } from './score-batch.ts';
export { trainModel } from './train-model.ts';
