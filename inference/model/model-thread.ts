/** The thread in which models are loaded and proven, and one of them may stay. Runs from dist/ (see compiledModule). */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { isMainThread, parentPort } from 'node:worker_threads';
import { type ErrorCode, messageOf, SerinError } from '../../domain/errors.ts';
import type { Tensor } from '../oip/model.ts';
import { type Inspection, inspectModel, type ModelSource } from './inspect-model.ts';
import type { OrtSession } from './ort-session.ts';
import { giveWay, giveWayNoMore } from './thread-priority.ts';
import { treeBuffers } from './tree-runner.ts';

export interface OpenTask {
  readonly source: ModelSource;
  /** The thread gives way to others meanwhile. */
  readonly givingWay: boolean;
}

export interface Opened {
  readonly inspection: Inspection;
  /** The thread keeps the model. One that is to keep it and cannot be quick again does not. */
  readonly kept: boolean;
}

export interface ThreadTasks {
  readonly open: { readonly task: OpenTask; readonly result: Opened };
  readonly run: {
    readonly task: { readonly inputs: readonly Tensor[]; readonly outputs: readonly number[] };
    readonly result: Tensor[];
  };
  /** SHA-256 of a file, in hexadecimal. */
  readonly digest: { readonly task: { readonly path: string; readonly givingWay: boolean }; readonly result: string };
  /** Lets go of the model, if it holds one, and of the thread. */
  readonly end: { readonly task: null; readonly result: null };
}

export type ThreadTask = {
  [K in keyof ThreadTasks]: { readonly id: number; readonly kind: K; readonly task: ThreadTasks[K]['task'] };
}[keyof ThreadTasks];

export interface ThreadFailure {
  /** null: a bug, not a refusal. */
  readonly code: ErrorCode | null;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export type ThreadAnswer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly failure: ThreadFailure };

interface Carried {
  readonly result: unknown;
  readonly transfer?: ArrayBuffer[];
}

let kept: OrtSession | null = null;

async function carryOut({ kind, task }: ThreadTask): Promise<Carried> {
  switch (kind) {
    case 'open': {
      if (task.givingWay) giveWay();
      const { session, ...inspection } = await inspectModel(task.source);
      if (giveWayNoMore()) kept = session;
      else await session?.release();
      const opened: Opened = { inspection, kept: kept !== null };
      return { result: opened, transfer: inspection.trees === null ? [] : treeBuffers(inspection.trees) };
    }
    case 'run': {
      const tensors = await kept!.run(task.inputs, task.outputs);
      return { result: tensors };
    }
    case 'digest': {
      if (task.givingWay) giveWay();
      const hash = createHash('sha256');
      for await (const chunk of createReadStream(task.path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
      giveWayNoMore();
      return { result: hash.digest('hex') };
    }
    case 'end':
      await kept?.release();
      kept = null;
      return { result: null };
  }
}

function failureOf(error: unknown): ThreadFailure {
  if (error instanceof SerinError) return { code: error.code, message: error.message, fields: error.fields };
  return { code: null, message: messageOf(error), fields: {} };
}

if (!isMainThread && parentPort !== null) {
  const port = parentPort;
  let turn = Promise.resolve();
  port.on('message', (message: ThreadTask) => {
    turn = turn.then(async () => {
      const { id, kind } = message;
      try {
        const { result, transfer = [] } = await carryOut(message);
        port.postMessage({ id, result } satisfies ThreadAnswer, transfer);
      } catch (error) {
        port.postMessage({ id, failure: failureOf(error) } satisfies ThreadAnswer);
      }
      if (kind === 'end') port.close();
    });
  });
}
