import { allHandlersFinished, condition, continueAsNew, setCurrentDetails, setHandler, sleep, workflowInfo } from '@temporalio/workflow';
import { control, data } from './activity-proxies.ts';
import { type MonitorModelInput, type MonitorStatus, monitorQuery } from './messages.ts';
import { tagModel, tagStage } from './search-attributes.ts';

/** A run this long continues as new even if the server has not suggested it: state stays small, code upgrades get in. */
const WINDOWS_PER_RUN = 200;

/** Looks at a model's production windows for as long as the model lives; alerts are rows with an owner and a runbook. */
export async function monitorModel(input: MonitorModelInput): Promise<void> {
  let status: MonitorStatus = { windows: input.windows ?? 0, lastWindowEnd: input.after ?? null, lastFindings: [] };
  setHandler(monitorQuery, () => status, { description: 'What the monitor saw last' });
  tagModel(input.model);
  tagStage('monitoring');

  for (let window = 0; window < WINDOWS_PER_RUN && !workflowInfo().continueAsNewSuggested; window += 1) {
    const { everyMs } = await control.getMonitorPlan({ model: input.model });
    await sleep(everyMs, { summary: 'until the next window' });
    const result = await data.runMonitors({ model: input.model, after: status.lastWindowEnd });
    status = { windows: status.windows + 1, lastWindowEnd: result.windowEnd, lastFindings: result.findings };
    setCurrentDetails(
      `**${status.windows}** windows so far\n${result.findings.map((finding) => `- ${finding}`).join('\n') || '- nothing to report'}`,
    );
  }
  await condition(allHandlersFinished);
  await continueAsNew<typeof monitorModel>({
    model: input.model,
    windows: status.windows,
    ...(status.lastWindowEnd !== null && { after: status.lastWindowEnd }),
  });
}
