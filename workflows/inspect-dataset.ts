import { setCurrentDetails } from '@temporalio/workflow';
import type { DatasetDiff, RowExplanation } from '../domain/features/dataset-explanation.ts';
import { data } from './activity-proxies.ts';
import type { DiffDatasetsInput, ExplainRowInput, RebuildDatasetInput, RebuildDatasetResult } from './messages.ts';

/** Says how two datasets of one plan differ, and by which events. Datasets do not change, so neither does the answer. */
export async function diffDatasets(input: DiffDatasetsInput): Promise<DatasetDiff> {
  const [before, after] = [input.before.slice(0, 12), input.after.slice(0, 12)];
  setCurrentDetails(`Comparing the datasets \`${before}\` and \`${after}\``);
  return data.diffDatasets.executeWithOptions({ summary: `${before} and ${after}` }, [input]);
}

/** Finds the events behind each value of one row of a dataset. */
export async function explainRow(input: ExplainRowInput): Promise<RowExplanation> {
  const dataset = input.dataset.slice(0, 12);
  setCurrentDetails(`Explaining row ${input.row} of the dataset \`${dataset}\``);
  return data.explainRow.executeWithOptions({ summary: `row ${input.row} of ${dataset}` }, [input]);
}

/** Builds a dataset again from what its manifest names, which gives the same bytes or shows that something is not as it was. */
export async function rebuildDataset(input: RebuildDatasetInput): Promise<RebuildDatasetResult> {
  const dataset = input.dataset.slice(0, 12);
  setCurrentDetails(`Building the dataset \`${dataset}\` again`);
  const result = await data.rebuildDataset.executeWithOptions({ summary: dataset }, [input]);
  setCurrentDetails(
    result.same
      ? `The dataset \`${dataset}\` is what its manifest says`
      : `The dataset \`${dataset}\` came out as \`${result.rebuilt.slice(0, 12)}\``,
  );
  return result;
}
