import { ActivityFailure, CancellationScope, isCancellation, setCurrentDetails, sleep } from '@temporalio/workflow';
import { callbacks, control, slowInference } from './activity-proxies.ts';
import type { InferAsyncInput, InferAsyncResult } from './messages.ts';
import { tagModel } from './search-attributes.ts';

/**
 * One prediction that is answered later: asked of the inference tier until it answers, delivered to the callback until it is
 * taken, kept for the time that was asked for, and gone after it.
 */
export async function inferAsync(input: InferAsyncInput): Promise<InferAsyncResult> {
  const { id, model, callback, keepSeconds } = input;
  tagModel(model);
  try {
    const status = await answer(input);
    const delivered = callback ? await delivery(input) : null;
    const kept = `kept for ${keepSeconds} s`;
    setCurrentDetails(delivered === false ? `${status}, not delivered, ${kept}` : `${status}, ${kept}`);
    await sleep(keepSeconds * 1_000, { summary: 'the answer is kept' });
    return { status, delivered };
  } finally {
    await CancellationScope.nonCancellable(() => control.forgetPrediction.executeWithOptions({ summary: id }, [input]));
  }
}

async function answer(input: InferAsyncInput): Promise<InferAsyncResult['status']> {
  try {
    return (await slowInference.askInference.executeWithOptions({ summary: input.model }, [input])).status;
  } catch (error) {
    if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
    await control.giveUpInference({ ...input, reason: error.cause?.message ?? error.message });
    return 'failed';
  }
}

/** What cannot be delivered waits to be fetched; why it could not is said with it. */
async function delivery(input: InferAsyncInput): Promise<boolean> {
  try {
    await callbacks.deliverPrediction.executeWithOptions({ summary: 'callback' }, [input]);
    return true;
  } catch (error) {
    if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
    return false;
  }
}
