import {
  answerAsyncPrediction,
  type AsyncPrediction,
  getAsyncPrediction,
  noteDelivery,
  removeAsyncPrediction,
} from '../db/async-predictions.ts';
import { ERRORS, isErrorCode, SerinError } from '../domain/errors.ts';
import type { InferAsyncInput } from '../workflows/messages.ts';
import { deliver } from './callback.ts';
import type { Dependencies } from './dependencies.ts';
import { withHeartbeat } from './heartbeat.ts';

/** A model may take minutes; the attempt ends before Temporal's own limit does. */
const ANSWER_WITHIN_MS = 14 * 60_000;

type Question = Readonly<Record<string, unknown>>;

export function createAsyncInferenceActivities({ db, config, now }: Dependencies) {
  return {
    /**
     * Asks the inference tier and keeps its answer. The ids of the predictions are those of the first attempt, so that a
     * retry is logged as the same ones; an answer that is there is not asked for again.
     */
    async askInference({ id, trace }: InferAsyncInput): Promise<{ status: 'answered' | 'failed' }> {
      return withHeartbeat(async ({ signal }) => {
        const asked = await getAsyncPrediction(db, id);
        if (asked.status !== 'waiting') return { status: asked.status };
        const { status, answer } = await ask(asked, trace ?? {}, signal);
        await answerAsyncPrediction(db, { id, status, answer, at: now() });
        return { status };
      });
    },

    /** What could not be answered in the time there was; the first end stays. */
    async giveUpInference({ id, reason }: InferAsyncInput & { readonly reason: string }): Promise<void> {
      const { title, status } = ERRORS.MODEL_NOT_READY;
      const answer = { code: 'MODEL_NOT_READY', title, status, detail: reason };
      await answerAsyncPrediction(db, { id, status: 'failed', answer, at: now() });
    },

    /** At least once: a receiver tells attempts of one answer by their id. */
    async deliverPrediction({ id, trace = {} }: InferAsyncInput): Promise<void> {
      await withHeartbeat(async ({ signal }) => {
        const asked = await getAsyncPrediction(db, id);
        if (asked.callback === null || asked.deliveredAt !== null) return;
        const { url, secret } = asked.callback;
        const timestamp = Math.floor(now() / 1e6);
        try {
          await deliver(
            { url, secret, id, body: bodyOf(asked), timestamp, trace },
            config.callbackTo === 'anywhere',
            signal,
          );
        } catch (error) {
          if (!signal.aborted) await noteDelivery(db, { id, at: now(), failure: (error as Error).message });
          throw error;
        }
        await noteDelivery(db, { id, at: now(), failure: null });
      });
    },

    /** Removing twice leaves as little. */
    async forgetPrediction({ id }: InferAsyncInput): Promise<void> {
      await removeAsyncPrediction(db, id);
    },
  };

  async function ask(
    { id, model, request }: AsyncPrediction,
    trace: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<{ status: 'answered' | 'failed'; answer: object }> {
    const { instances } = request as { readonly instances: readonly Question[] };
    const named = instances.map((instance, i) => ({ id: `${id}-${i}`, ...instance }));
    const { inferenceUrl } = config;
    if (inferenceUrl === undefined) throw new SerinError('CONFIG_INVALID', 'SERIN_INFERENCE_URL is not known here');
    const unreachable = (why: string, cause?: unknown): SerinError =>
      new SerinError('MODEL_NOT_READY', `the inference tier at ${inferenceUrl} did not answer: ${why}`, { cause });
    const url = new URL(`v1/models/${encodeURIComponent(model)}/predict`, `${inferenceUrl.replace(/\/$/, '')}/`);
    let response: Response;
    let text: string;
    try {
      response = await fetch(url, {
        method: 'POST',
        headers: { ...trace, 'content-type': 'application/json', 'x-serin-priority': 'background' },
        body: JSON.stringify({ instances: named }),
        signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]),
      });
      text = await response.text();
    } catch (error) {
      if (signal.aborted) throw error;
      throw unreachable((error as Error).message, error);
    }
    const answer = readObject(text);
    if (answer === undefined) throw unreachable(`${response.status} and no JSON: ${text.slice(0, 200)}`);
    if (response.ok) return { status: 'answered', answer };
    const { code, detail } = answer;
    if (isErrorCode(code) && ERRORS[code].retryable) throw new SerinError(code, String(detail));
    return { status: 'failed', answer };
  }
}

/** What a callback gets: what `GET /v1/async-predictions/{id}` says of the answer. */
function bodyOf({ id, model, status, answer }: AsyncPrediction): string {
  return JSON.stringify({ id, model, status, ...(status === 'failed' ? { problem: answer } : answer) });
}

function readObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
