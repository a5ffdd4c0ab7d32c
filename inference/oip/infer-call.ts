/** The infer call over HTTP, as the framework's route and the direct path (direct-infer.ts) both carry it out. */
import type { IncomingMessage } from 'node:http';
import { messageOf, SerinError } from '../../domain/errors.ts';
import { shownValue } from '../../domain/shown-value.ts';
import type { Door, Ticket } from '../admission/admission.ts';
import { MESSAGE_LIMIT_BYTES, refusal, statusOf } from './describe.ts';
import { readInferRequest } from './infer-request.ts';
import { type InferResponse, writeInferResponse } from './infer-response.ts';
import type { ModelRepository } from './model.ts';

export const JSON_TYPE = 'application/json; charset=utf-8';
export const BINARY_TYPE = 'application/octet-stream';
export const HEADER_LENGTH = 'inference-header-content-length';

export interface InferDeps {
  readonly repository: ModelRepository;
  /** Of requests with tensors. */
  readonly door: Door;
}

/**
 * @param ticket of the request, as the door filled it in
 * @param body whole and decompressed
 * @throws SerinError INPUT_INVALID, MODEL_NOT_FOUND, VERSION_NOT_FOUND, MODEL_NOT_READY, OVERLOADED, INFERENCE_FAILED
 */
export async function callInfer(
  { repository, door }: InferDeps,
  name: string,
  version: string | undefined,
  request: IncomingMessage,
  ticket: Readonly<Ticket>,
  body: Buffer,
): Promise<InferResponse> {
  const model = repository.get(name, version);
  const infer = readInferRequest(body, headerLengthOf(request.headers[HEADER_LENGTH]), model);
  door.charge(request, infer.rows);
  const deadlineMs = Math.min(ticket.deadlineMs, ticket.arrivedMs + infer.timeoutMs);
  const tensors = await model.infer(infer.inputs, infer.outputs, deadlineMs, infer.priority ?? ticket.priority);
  return writeInferResponse(model, infer, tensors);
}

function headerLengthOf(text: string | string[] | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (typeof text === 'string' && /^\d{1,15}$/.test(text)) return Number(text);
  throw refusal(`Inference-Header-Content-Length is ${shownValue(text)}, expected the number of bytes of JSON`);
}

export interface ErrorAnswer {
  readonly status: number;
  /** After which to try again, for what passes; null: the client need not come back with the same. */
  readonly retryAfterMs: number | null;
  readonly body: string;
  /** Serin did not throw it on purpose, nor did the framework: it belongs into the log. */
  readonly unexpected: boolean;
}

/** What a client of the protocol is told about an error. */
export function errorAnswer(error: unknown): ErrorAnswer {
  const known = error instanceof SerinError;
  const status = known ? statusOf(error) : statusOfOther(error);
  return {
    status,
    retryAfterMs: known && error.retryable ? error.retryAfterMs : null,
    body: JSON.stringify({ error: status === 413 ? TOO_LARGE : messageOf(error) }),
    unexpected: !known && status >= 500,
  };
}

/** The framework's own sentence leaves out how much is not. */
const TOO_LARGE = `the body is too large: at most ${MESSAGE_LIMIT_BYTES} bytes are taken`;

/** Of what Fastify itself refuses. */
function statusOfOther(error: unknown): number {
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  return typeof status === 'number' && status >= 400 ? status : 500;
}
