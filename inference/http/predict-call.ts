/** The predict call, as the framework's route and the direct path (direct-predict.ts) both carry it out. */
import type { IncomingMessage } from 'node:http';
import { SerinError } from '../../domain/errors.ts';
import type { TraceContext } from '../../platform/trace-context.ts';
import type { Door, Ticket } from '../admission/admission.ts';
import type { CostBook } from '../admission/cost-book.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import type { Answer, Override, Standing } from '../scoring/answer.ts';
import type { OnlineReader } from '../scoring/feature-batch.ts';
import type { PredictWork } from '../scoring/predictor.ts';
import { explainAnswers } from './explain-features.ts';
import { readInstances } from './predict-request.ts';
import { hasOverride, readOverride } from './read-override.ts';
import type { TesterAccess } from './tester-access.ts';
import { writeAnswers } from './write-answers.ts';

export const PREDICT_TYPE = 'application/json; charset=utf-8';

export interface PredictDeps {
  readonly entryOf: (model: string) => RouteEntry | undefined;
  readonly door: Door;
  /** What batches of each model cost. */
  readonly costs: CostBook;
  /** @throws SerinError `OVERLOADED` */
  readonly submit: (work: PredictWork) => void;
  readonly nowMicros: () => number;
  /** Where ages of features are read, for answers that are to be explained. */
  readonly store: OnlineReader;
  readonly testers: TesterAccess;
  /** Told how long an answer took to be written out. */
  readonly written: (entry: RouteEntry, by: Standing, seconds: number) => void;
}

export interface PredictCall {
  readonly model: string;
  readonly request: IncomingMessage;
  /** As the door filled it in. */
  readonly ticket: Readonly<Ticket>;
  readonly trace: TraceContext | undefined;
  readonly explain: boolean;
  /** Parsed, and nothing more. */
  readonly body: unknown;
}

/**
 * @param send gets the body of the answer
 * @throws SerinError INPUT_INVALID, MODEL_NOT_FOUND, MODEL_NOT_READY, VERSION_NOT_FOUND, UNAUTHENTICATED, FORBIDDEN, RATE_LIMITED,
 *   OVERLOADED, DATABASE_UNAVAILABLE
 */
export async function callPredict(
  { entryOf, door, costs, submit, nowMicros, store, testers, written }: PredictDeps,
  { model, request, ticket, trace, explain, body }: PredictCall,
  send: (text: string) => void,
): Promise<void> {
  const entry = entryOf(model);
  if (!entry)
    throw new SerinError('MODEL_NOT_FOUND', `there is no model "${model}" here; see GET /v1/models`, {
      fields: { model },
    });
  let override: Override | undefined;
  if (hasOverride(request.headers)) {
    await testers.authorize(request.headers.authorization);
    override = readOverride(request.headers, entry);
  }
  const instances = readInstances(body, entry, nowMicros(), override);
  const rows = instances.length;
  door.charge(request, rows);
  const { arrivedMs, deadlineMs, priority } = ticket;
  const cost = costs.of(model);
  const answers = await new Promise<readonly Answer[]>((resolve, reject) =>
    submit({
      kind: 'predict',
      rows,
      model,
      instances,
      arrivedMs,
      deadlineMs,
      priority,
      cost,
      trace,
      resolve,
      reject,
    }),
  );
  const explanations = explain ? await explainAnswers(store, entry, answers) : null;
  const writingMs = performance.now();
  send(writeAnswers(model, answers, explanations));
  // by whom its first instance was answered: a request has one text
  written(entry, answers[0]!, (performance.now() - writingMs) / 1e3);
}
