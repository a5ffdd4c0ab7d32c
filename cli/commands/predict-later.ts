/** Predictions that the API is asked for now and that are answered later, however long a model takes. */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { isErrorCode, SerinError } from '../../domain/errors.ts';
import type { ApiClient } from '../api-client.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { type Output, print } from '../output.ts';
import { type Prediction, showPredictions } from './show-predictions.ts';

/** As `GET /v1/async-predictions/{id}` has it. */
interface AskedLater {
  readonly id: string;
  readonly status: 'waiting' | 'answered' | 'failed';
  readonly predictions?: readonly Prediction[];
  readonly problem?: { readonly code: string; readonly detail: string };
  readonly links: { readonly temporal: string };
}

export interface Question {
  readonly model: string;
  /** One instance, or `{instances}`. */
  readonly body: object;
  /** The same key is the same question; undefined: it is a new one. */
  readonly key: string | undefined;
}

type Asking = { readonly api: ApiClient; readonly output: Output; readonly wait: boolean };

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;

/** @throws SerinError with the code that the inference tier refused it by */
export async function askLater(asking: Asking, { model, body, key = randomUUID() }: Question): Promise<ExitCode> {
  const instances = 'instances' in body ? body.instances : [body];
  // with a key the question can be repeated when its answer is lost
  const asked = await asking.api.post<AskedLater>(
    `models/${encodeURIComponent(model)}/predictions`,
    { instances },
    { idempotencyKey: key },
  );
  return tellWhenAnswered(asking, asked);
}

/** What has come of one that was asked for before. @throws as `askLater` */
export async function fetchLater(asking: Asking, id: string): Promise<ExitCode> {
  return tellWhenAnswered(asking, await read(asking.api, id));
}

async function tellWhenAnswered({ api, output, wait }: Asking, asked: AskedLater): Promise<ExitCode> {
  let answer = asked;
  if (wait && answer.status === 'waiting') output.note(`${answer.id} is waiting: ${answer.links.temporal}`);
  for (let ms = FIRST_PAUSE_MS; wait && answer.status === 'waiting'; ms = Math.min(2 * ms, LONGEST_PAUSE_MS)) {
    await pause(ms);
    answer = await read(api, answer.id);
  }
  const { id, status, predictions = [], problem, links } = answer;
  if (problem !== undefined)
    throw new SerinError(isErrorCode(problem.code) ? problem.code : 'WORKFLOW_FAILED', problem.detail, {
      fields: { ...problem, predictionId: id },
    });
  print(output, answer, () =>
    status === 'answered'
      ? showPredictions(predictions)
      : `${id} is waiting; fetch it with: serin predictions fetch ${id}\n${links.temporal}`,
  );
  return status === 'answered' ? EXIT.done : EXIT.running;
}

function read(api: ApiClient, id: string): Promise<AskedLater> {
  return api.get<AskedLater>(`async-predictions/${encodeURIComponent(id)}`);
}
