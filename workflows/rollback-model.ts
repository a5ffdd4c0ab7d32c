import { setCurrentDetails } from '@temporalio/workflow';
import { acknowledgement, traffic } from './activity-proxies.ts';
import type { RollbackModelInput, RollbackModelResult } from './messages.ts';
import { tagModel, tagStage } from './search-attributes.ts';

/**
 * Takes the champion of a model back to its last known good version after its rollout has ended: one compare-and-set of the
 * route, then every node's acknowledgement. (A rollout that is under way is rolled back by its own command.)
 */
export async function rollbackModel(input: RollbackModelInput): Promise<RollbackModelResult> {
  tagModel(input.model);
  setCurrentDetails(`Rolling **${input.model}** back: ${input.reason}`);
  const result = await traffic.rollBackChampion(input);
  await acknowledgement.awaitAcknowledgement({ model: input.model, epoch: result.epoch });
  tagStage('rolledBack', 'rollback');
  setCurrentDetails(
    `**${input.model}** answers with v${result.champion} again, at epoch ${result.epoch} on every node: ${input.reason}`,
  );
  return result;
}
