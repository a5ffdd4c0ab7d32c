import {
  ActivityFailure,
  allHandlersFinished,
  condition,
  continueAsNew,
  isCancellation,
  setCurrentDetails,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import { control, data } from './activity-proxies.ts';
import { type MonitorModelInput, type MonitorStatus, monitorQuery } from './messages.ts';
import { tagModel, tagStage } from './search-attributes.ts';

/** A run this long continues as new even if the server has not suggested it: state stays small, code upgrades get in. */
const WINDOWS_PER_RUN = 200;

/** Looks at a model's production windows for as long as the model lives; alerts are rows with an owner and a runbook. */
export async function monitorModel(input: MonitorModelInput): Promise<void> {
  let status: MonitorStatus = input.carried ?? { windows: 0, lastWindowEnd: null, lastFindings: [] };
  setHandler(monitorQuery, () => status, { description: 'What the monitor saw last' });
  tagModel(input.model);
  tagStage('monitoring');
  if (input.carried !== undefined) showStatus(status);

  for (let window = 0; window < WINDOWS_PER_RUN && !workflowInfo().continueAsNewSuggested; window += 1) {
    const { everyMs } = await control.getMonitorPlan({ model: input.model });
    await sleep(everyMs, { summary: 'until the next window' });
    status = await look(input.model, status);
    showStatus(status);
  }
  await condition(allHandlersFinished);
  await continueAsNew<typeof monitorModel>({ model: input.model, carried: status });
}

/** One window. One that cannot be looked at becomes part of the next: the monitor goes on, and says so. */
async function look(model: string, before: MonitorStatus): Promise<MonitorStatus> {
  try {
    const { windowEnd, findings } = await data.runMonitors({ model, after: before.lastWindowEnd });
    return { windows: before.windows + 1, lastWindowEnd: windowEnd, lastFindings: findings };
  } catch (error) {
    if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
    const finding = `the window could not be looked at: ${error.cause?.message ?? error.message}`;
    return { ...before, lastFindings: [finding] };
  }
}

function showStatus({ windows, lastFindings }: MonitorStatus): void {
  const findings = lastFindings.length === 0 ? ['nothing to report'] : lastFindings;
  setCurrentDetails(`**${windows}** windows so far\n${findings.map((finding) => `- ${finding}`).join('\n')}`);
}
