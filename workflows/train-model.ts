import {
  CancellationScope,
  executeChild,
  isCancellation,
  ParentClosePolicy,
  setCurrentDetails,
  workflowInfo,
} from '@temporalio/workflow';
import { messageOf } from '../domain/errors.ts';
import { control, training } from './activity-proxies.ts';
import { buildDataset } from './build-dataset.ts';
import { TASK_QUEUE_CONTROL, type TrainModelInput, type TrainModelResult } from './messages.ts';
import { tagModel, tagStage } from './search-attributes.ts';

/**
 * Dataset → dataset gates → training → evaluation through the real serving path → gates → registration. A run that a gate
 * stops ends here, with its report; only a run that passes every gate becomes a version.
 */
export async function trainModel(input: TrainModelInput): Promise<TrainModelResult> {
  tagModel(input.model);
  // a cancellation waits for what opens the run and for what registers its version: neither is left half told
  const { runId, project, projectDigest } = await CancellationScope.nonCancellable(() =>
    control.openRun({ ...input, key: workflowInfo().firstExecutionRunId }),
  );
  try {
    return await train(input, { runId, project, projectDigest });
  } catch (error) {
    const failure = isCancellation(error) ? 'cancelled' : rootMessage(error);
    await CancellationScope.nonCancellable(() => control.failRun({ runId, failure }));
    throw error;
  }
}

async function train(
  input: TrainModelInput,
  { runId, project, projectDigest }: { runId: string; project: string; projectDigest: string },
): Promise<TrainModelResult> {
  step('dataset', runId);
  const dataset = await executeChild(buildDataset, {
    args: [{ project, projectDigest, model: input.model, training: input.training }],
    workflowId: `dataset/${runId}`,
    taskQueue: TASK_QUEUE_CONTROL,
    parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
    staticSummary: `point-in-time dataset of ${input.model} / ${input.training}`,
  });

  step('dataset gates', runId);
  const sound = await control.decideGates({ runId, dataset: dataset.digest, kinds: 'dataset' });
  if (sound.verdict !== 'pass') return stopped(runId, dataset.digest, sound);

  step('training', runId);
  await training.train.executeWithOptions({ summary: `${input.model} / ${input.training}` }, [
    { runId, dataset: dataset.digest },
  ]);

  step('evaluation', runId);
  await training.evaluate.executeWithOptions({ summary: `${runId} through the serving path` }, [
    { runId, dataset: dataset.digest },
  ]);

  step('gates', runId);
  const decided = await control.decideGates({ runId, dataset: dataset.digest, kinds: 'all' });
  if (decided.verdict !== 'pass') return stopped(runId, dataset.digest, decided);

  step('registration', runId);
  const { version } = await CancellationScope.nonCancellable(() => control.registerVersion({ runId }));
  tagModel(input.model, version);
  tagStage('registered', 'pass');
  setCurrentDetails(`Run \`${runId}\` passed its gates and is **${input.model} v${version}**`);
  return { runId, dataset: dataset.digest, verdict: 'pass', version, stoppedBy: [] };
}

function step(name: string, runId: string): void {
  tagStage(name);
  setCurrentDetails(`Run \`${runId}\`: **${name}**`);
}

function stopped(
  runId: string,
  dataset: string,
  { verdict, sentences }: { verdict: TrainModelResult['verdict']; sentences: readonly string[] },
): TrainModelResult {
  tagStage('gated', verdict);
  setCurrentDetails(
    `Run \`${runId}\` was stopped by its gates\n${sentences.map((sentence) => `- ${sentence}`).join('\n')}`,
  );
  return { runId, dataset, verdict, version: null, stoppedBy: sentences };
}

/** The innermost message: the one the activity gave. */
function rootMessage(error: unknown): string {
  let at = error;
  while (at instanceof Error && at.cause instanceof Error) at = at.cause;
  return messageOf(at);
}
