import { randomUUID } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { SerinError } from '../domain/errors.ts';
import type { ApiContext } from './context.ts';
import { answers, Document, Key } from './route-schema.ts';
import { type Operation, OPERATION_STATUSES, type StartRequest, type WorkflowType } from './workflow-client.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The workflow that the request started or asked about, for the log line that joins the two. */
    workflowId: string | undefined;
  }
}

/** Shorter than the idle limits of common proxies: a client that wants to wait longer asks again. */
const WAIT_MS = 50_000;

export const Waiting = Type.Object({
  wait: Type.Boolean({
    default: false,
    description: `Answer when the workflow has ended, or after ${WAIT_MS / 1_000} s with the status it has then.`,
  }),
});

export const IdempotencyHeaders = Type.Object({ 'idempotency-key': Type.Optional(Key) });

export const OperationView = Type.Object(
  {
    workflowId: Type.String({ examples: ['train/flight-delay/boosted/2001-06'] }),
    status: Type.Enum([...OPERATION_STATUSES]),
    type: Type.Optional(Type.String({ examples: ['trainModel'] })),
    runId: Type.Optional(Type.String()),
    result: Type.Optional(Document('What the workflow returned, once it has completed.')),
    problem: Type.Optional(Document('Why it ended otherwise: code, title, status, detail.')),
    links: Type.Object({ temporal: Type.String(), self: Type.String() }),
  },
  { description: 'A workflow, as far as it has come.' },
);

/** The answers of a route that starts a workflow. */
export function operationAnswers(codes: Parameters<typeof answers>[1] = []) {
  return answers(
    {
      200: { description: 'It has ended, and this is its result.', schema: OperationView },
      202: { description: 'It is under way; ask `links.self` for its end.', schema: OperationView },
    },
    [...(codes ?? []), 'TEMPORAL_UNAVAILABLE', 'WORKFLOW_FAILED', 'CANCELLED'],
  );
}

/** The caller's Idempotency-Key, or a short random one: the last part of a workflow id. */
export function keyOf(headers: { readonly 'idempotency-key'?: string | undefined }): string {
  return headers['idempotency-key'] ?? randomUUID().slice(0, 8);
}

/** Starts a workflow (or joins the one of the same id) and answers with what it has come to. */
export async function startOperation<T extends WorkflowType>(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  start: Omit<StartRequest<T>, 'requestId'>,
  { wait }: { readonly wait: boolean },
): Promise<FastifyReply> {
  request.workflowId = start.workflowId;
  await context.workflows.start({ ...start, requestId: request.id });
  const operation = await findOperation(context, reply, start.workflowId, wait);
  if (operation.failure !== undefined) throw operation.failure;
  return reply.code(operation.status === 'running' ? 202 : 200).send(viewOf(context, operation));
}

/** @throws SerinError NOT_FOUND */
export async function findOperation(
  context: ApiContext,
  reply: FastifyReply,
  workflowId: string,
  wait: boolean,
): Promise<Operation> {
  const found = wait
    ? await whileAsked(context, reply, (signal) => context.workflows.find(workflowId, { waitMs: WAIT_MS, signal }))
    : await context.workflows.find(workflowId);
  if (found === undefined)
    throw new SerinError(
      'NOT_FOUND',
      `there is no workflow "${workflowId}"; closed ones are forgotten after their retention`,
    );
  return found;
}

/**
 * Until the client hangs up or the server closes. Not by AbortSignal.any: in Node 20 a signal that lives as long as the server keeps
 * an entry for each one that was ever made of it.
 */
async function whileAsked<T>(
  { closing }: Pick<ApiContext, 'closing'>,
  { raw }: FastifyReply,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const abort = (): void => over.abort();
  if (closing.aborted) abort();
  closing.addEventListener('abort', abort);
  raw.once('close', abort);
  try {
    return await work(over.signal);
  } finally {
    closing.removeEventListener('abort', abort);
    raw.off('close', abort);
  }
}

export function viewOf(context: ApiContext, { failure, ...operation }: Operation) {
  return {
    ...operation,
    ...(failure !== undefined && {
      problem: {
        ...failure.fields,
        code: failure.code,
        title: failure.title,
        status: failure.status,
        detail: failure.message,
      },
    }),
    links: {
      temporal: temporalLink(context, operation.workflowId),
      self: `/v1/operations/${encodeURIComponent(operation.workflowId)}`,
    },
  };
}

/** Where the Temporal UI shows a workflow. */
export function temporalLink({ config }: Pick<ApiContext, 'config'>, workflowId: string): string {
  return `${config.temporalUiUrl}/namespaces/${config.temporalNamespace}/workflows/${encodeURIComponent(workflowId)}`;
}
