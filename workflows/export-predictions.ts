import { setCurrentDetails } from '@temporalio/workflow';
import { data } from './activity-proxies.ts';
import type {
  ExportPredictionsInput,
  ExportPredictionsResult,
  FindPredictionInput,
  FoundPrediction,
} from './messages.ts';

/**
 * Writes what was logged before an instant into Parquet, model by model, and with `drop` takes it out of the table. What is exported
 * already is not exported again: run it as often as you like.
 */
export async function exportPredictions(input: ExportPredictionsInput): Promise<ExportPredictionsResult> {
  const { until = null, drop = false } = input;
  const names = await data.listModelsToExport.executeWithOptions({ summary: 'which models' }, [input]);
  const models: ExportPredictionsResult['models'][number][] = [];
  for (const model of names) {
    const exported = await data.exportModelPredictions.executeWithOptions({ summary: model }, [{ model, until }]);
    const dropped = drop
      ? await data.dropExportedPredictions.executeWithOptions({ summary: model }, [{ model, before: until }])
      : null;
    models.push({ ...exported, dropped: dropped?.rows ?? 0, droppedTo: dropped?.droppedTo ?? null });
    setCurrentDetails(
      models
        .map((each) => `- **${each.model}**: ${each.rows} rows in ${each.files} files, ${each.dropped} dropped`)
        .join('\n'),
    );
  }
  return { models };
}

/** Looks an answer up in what was exported. */
export async function findPrediction({ predictionId }: FindPredictionInput): Promise<FoundPrediction> {
  return { answers: await data.findExportedPredictions({ predictionId }) };
}
