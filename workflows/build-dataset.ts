import { setCurrentDetails } from '@temporalio/workflow';
import { data } from './activity-proxies.ts';
import type { BuildDatasetInput, BuildDatasetResult } from './messages.ts';
import { tagModel } from './search-attributes.ts';

/** Builds the point-in-time dataset of one training, named by the digest of its manifest. */
export async function buildDataset(input: BuildDatasetInput): Promise<BuildDatasetResult> {
  tagModel(input.model);
  setCurrentDetails(`Building the dataset of **${input.model}** / ${input.training}`);
  const result = await data.buildDataset.executeWithOptions({ summary: `${input.model} / ${input.training}` }, [input]);
  setCurrentDetails(
    `Dataset \`${result.digest.slice(0, 12)}\`: ${result.trainRows} training and ${result.testRows} test rows, ${result.leakageFindings} leakage findings`,
  );
  return result;
}
