import { EventEmitter, getEventListeners } from 'node:events';
import type { FastifyReply } from 'fastify';
import { expect, test } from 'vitest';
import type { ApiContext } from './context.ts';
import { findOperation } from './operations.ts';
import type { Operation } from './workflow-client.ts';

/** An API whose Temporal answers when the wait for it is given up, or at once. */
function anApi() {
  const closing = new AbortController();
  const raw = new EventEmitter();
  const asked: AbortSignal[] = [];
  let isRunning = true;
  const find = (_id: string, { signal }: { signal?: AbortSignal } = {}): Promise<Partial<Operation>> => {
    const operation: Partial<Operation> = { workflowId: 'w', status: 'running' };
    if (signal === undefined || !isRunning) return Promise.resolve(operation);
    asked.push(signal);
    if (signal.aborted) return Promise.resolve(operation);
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve(operation), { once: true }));
  };
  const context = { closing: closing.signal, workflows: { find } } as unknown as ApiContext;
  const reply = { raw } as unknown as FastifyReply;
  const ask = (wait: boolean) => findOperation(context, reply, 'w', wait);
  return { closing, raw, asked, ask, end: () => (isRunning = false) };
}

test.each(['the client hangs up', 'the server closes'])('a wait for an operation ends when %s', async (end) => {
  const { closing, raw, asked, ask } = anApi();
  const waiting = ask(true);
  expect(asked[0]!.aborted).toBe(false);
  if (end === 'the server closes') closing.abort();
  else raw.emit('close');
  expect(await waiting).toMatchObject({ status: 'running' });
});

test('who asks while the server closes does not wait', async () => {
  const { closing, ask } = anApi();
  closing.abort();
  expect(await ask(true)).toMatchObject({ status: 'running' });
});

test('requests that are over leave nothing behind on the signal that lives as long as the server', async () => {
  const { closing, raw, ask, end } = anApi();
  end();
  for (const wait of [true, false, true]) await ask(wait);
  // where Node keeps the signals that AbortSignal.any has made of it
  const dependants = Object.getOwnPropertySymbols(closing.signal).find(
    ({ description }) => description === 'kDependantSignals',
  );
  const kept = dependants && (Reflect.get(closing.signal, dependants) as { size: number } | undefined);
  expect(kept?.size ?? 0).toBe(0);
  expect(getEventListeners(closing.signal, 'abort')).toEqual([]);
  expect(raw.listenerCount('close')).toBe(0);
});
