import { ApplicationFailure, executeChild, setCurrentDetails } from '@temporalio/workflow';
import { type Counts, FORGET_PLACES, type ForgetReport } from '../domain/features/forget-report.ts';
import { control, data } from './activity-proxies.ts';
import { materializeFeatures } from './materialize-features.ts';
import type { ForgetEntityInput } from './messages.ts';

/** What was on its way when its place was cleared (an answer that waited to be logged) is found by the scan and cleared again. */
const ROUNDS_MAX = 3;

/**
 * Removes one entity from every place that holds it and proves it by a scan. First its key is blocked, so that nothing comes
 * back meanwhile or afterwards; then place after place is cleared; what other entities' features took from its rows is built
 * anew from the log. Each step can be run again at any point. Neither the key nor anything made of it is in this history.
 */
export async function forgetEntity({ requestId }: ForgetEntityInput): Promise<ForgetReport> {
  const input = { requestId };
  setCurrentDetails(`Blocking the key of request **${requestId}**`);
  await control.blockEntity(input);
  for (let round = 1; ; round += 1) {
    setCurrentDetails(`Clearing the places of request **${requestId}** (round ${round})`);
    await data.forgetBuffered(input);
    await data.forgetLogged(input);
    await data.forgetOnline(input);
    await rebuild(requestId, round);
    await data.forgetPredictions(input);
    await data.forgetDatasets(input);
    setCurrentDetails(`Scanning for what is left of request **${requestId}**`);
    const { left } = await data.scanForgotten(input);
    if (left === null || FORGET_PLACES.every((place) => left[place] === 0)) return finish(requestId, left);
    if (round === ROUNDS_MAX) throw incomplete(requestId, left);
  }
}

async function rebuild(requestId: string, round: number): Promise<void> {
  const { project, views } = await control.listForgetRebuilds({ requestId });
  for (const { view, foldAt } of views) {
    setCurrentDetails(`Building **${view}** anew for request **${requestId}**`);
    await executeChild(materializeFeatures, {
      workflowId: `forget/${requestId}/rebuild/${round}/${view}`,
      args: [{ project, views: [view], foldAt }],
    });
  }
}

async function finish(requestId: string, left: Counts | null): Promise<ForgetReport> {
  const none = Object.fromEntries(FORGET_PLACES.map((place) => [place, 0])) as Record<keyof Counts, number>;
  const report = await control.finishForgetting({ requestId, left: left ?? none });
  const removed = report.places.map(({ place, removed: rows }) => `- ${place}: ${rows}`).join('\n');
  setCurrentDetails(`Request **${requestId}** is done, nothing is left; removed:\n${removed}`);
  return report;
}

function incomplete(requestId: string, left: Counts): ApplicationFailure {
  const places = FORGET_PLACES.filter((place) => left[place] > 0).map((place) => `${place}: ${left[place]}`);
  return ApplicationFailure.create({
    type: 'FORGET_INCOMPLETE',
    nonRetryable: true,
    message: `after ${ROUNDS_MAX} rounds the key of request ${requestId} is still there (${places.join(', ')}); its rows are blocked: send the request again with the same Idempotency-Key`,
    details: [{ requestId, left }],
  });
}
