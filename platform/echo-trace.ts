import type { FastifyReply, FastifyRequest } from 'fastify';
import { takeTrace, type TraceContext, traceparentOf } from './trace-context.ts';

/** The trace a request says it belongs to; the answer then names our span in it. Costs a look at a header where none is named. */
export function echoTrace(
  { headers }: Pick<FastifyRequest, 'headers'>,
  reply: Pick<FastifyReply, 'header'>,
): TraceContext | undefined {
  const trace = takeTrace(headers);
  if (trace !== undefined) void reply.header('traceparent', traceparentOf(trace));
  return trace;
}
