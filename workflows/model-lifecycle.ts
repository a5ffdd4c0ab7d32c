import {
  ChildWorkflowCancellationType,
  executeChild,
  ParentClosePolicy,
  setCurrentDetails,
  workflowInfo,
} from '@temporalio/workflow';
import { control } from './activity-proxies.ts';
import { type ModelLifecycleInput, type ModelLifecycleResult, TASK_QUEUE_CONTROL } from './messages.ts';
import { rolloutModel } from './rollout-model.ts';
import { tagModel, tagStage } from './search-attributes.ts';
import { trainModel } from './train-model.ts';

/** From new data to a finished rollout: train; if every gate passes, deliver. */
export async function modelLifecycle(input: ModelLifecycleInput): Promise<ModelLifecycleResult> {
  tagModel(input.model);
  tagStage('training');
  const training = await executeChild(trainModel, {
    args: [input],
    // the end of a run id is random, its beginning is the time in minutes
    workflowId: `train/${input.model}/${input.training}/${workflowInfo().firstExecutionRunId.slice(-12)}`,
    taskQueue: TASK_QUEUE_CONTROL,
    parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
    staticSummary: `train ${input.model} / ${input.training}`,
  });
  if (training.version === null) {
    tagStage('gated', training.verdict);
    setCurrentDetails(`Stopped by its gates\n${training.stoppedBy.map((sentence) => `- ${sentence}`).join('\n')}`);
    return { training, rollout: null };
  }

  tagModel(input.model, training.version);
  tagStage('rollout');
  const spec = await control.planRollout({ model: input.model, version: training.version });
  setCurrentDetails(`Rolling out **${input.model} v${training.version}** (\`${spec.rolloutId}\`)`);
  // the rollout owns traffic: it goes on by itself whatever becomes of this workflow, its cancellation included
  const rollout = await executeChild(rolloutModel, {
    args: [{ spec }],
    workflowId: spec.rolloutId,
    taskQueue: TASK_QUEUE_CONTROL,
    parentClosePolicy: ParentClosePolicy.ABANDON,
    cancellationType: ChildWorkflowCancellationType.ABANDON,
    staticSummary: `roll out ${input.model} v${training.version}`,
  });
  tagStage(rollout.outcome, rollout.outcome);
  setCurrentDetails(`**${input.model} v${training.version}** ${rollout.outcome}: ${rollout.reason}`);
  return { training, rollout };
}
