import { Worker } from 'node:worker_threads';
import { compiledModule } from '../../domain/compiled-module.ts';
import { SerinError } from '../../domain/errors.ts';
import type { ThreadAnswer, ThreadTask, ThreadTasks } from './model-thread.ts';
import './telemetry-off.ts';

interface Waiting {
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: NodeJS.Timeout;
}

/** How long a thread may take to let go of what it holds before nobody waits for it any more. */
const END_WITHIN_MS = 5_000;

/** A model thread seen from outside. One that dies, or does not answer in time, takes all it was asked with it. */
export class ThreadHandle {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #exited: Promise<void>;
  #asked = 0;
  #ended: SerinError | null = null;
  /** Called once when the thread has ended without being told to. */
  onLoss: (error: SerinError) => void = () => undefined;

  constructor() {
    // the environment that ONNX Runtime reads is the process's, which telemetry-off.ts has set here
    this.#worker = new Worker(new URL(compiledModule(import.meta.url, './model-thread.ts')), { execArgv: [] });
    this.#worker.unref();
    this.#worker.on('message', (answer: ThreadAnswer) => this.#settle(answer));
    this.#worker.on('error', (error) => this.#lose(`its thread has failed: ${error.message}`, error));
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        this.#lose(`its thread has ended with code ${code}`);
        resolve();
      });
    });
  }

  /**
   * @param withinMs after which the thread is taken for hanging and given up, with all it was asked
   * @throws what the task throws; SerinError INFERENCE_FAILED when the thread is lost
   */
  ask<K extends keyof ThreadTasks>(
    kind: K,
    task: ThreadTasks[K]['task'],
    withinMs: number,
  ): Promise<ThreadTasks[K]['result']> {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#giveUp(withinMs), withinMs);
      this.#waiting.set(id, { resolve, reject, timer });
      if (this.#waiting.size === 1) this.#worker.ref();
      this.#worker.postMessage({ id, kind, task } as ThreadTask);
    });
  }

  /** Ends it after what it was asked. */
  async end(): Promise<void> {
    if (this.#ended) return;
    this.onLoss = () => undefined;
    const answered = await this.ask('end', null, END_WITHIN_MS).then(
      () => true,
      () => false,
    );
    if (!answered) return;
    this.#worker.ref();
    await this.#exited;
  }

  #settle(answer: ThreadAnswer): void {
    const waiting = this.#waiting.get(answer.id);
    if (!waiting) return;
    this.#waiting.delete(answer.id);
    clearTimeout(waiting.timer);
    if (this.#waiting.size === 0) this.#worker.unref();
    if ('result' in answer) {
      waiting.resolve(answer.result as never);
      return;
    }
    const { code, message, fields } = answer.failure;
    waiting.reject(code === null ? new Error(message) : new SerinError(code, message, { fields }));
  }

  /**
   * A thread inside ONNX Runtime must not be terminated: its call comes back into a dead environment, throws there, and takes
   * the process with it (onnxruntime-node 1.30). It is told to end when it comes back, and nobody waits for it.
   */
  #giveUp(afterMs: number): void {
    this.#lose(`its thread did not answer within ${afterMs} ms`);
    this.#worker.postMessage({ id: ++this.#asked, kind: 'end', task: null } satisfies ThreadTask);
  }

  #lose(problem: string, cause?: unknown): void {
    if (this.#ended) return;
    const error = new SerinError('INFERENCE_FAILED', problem, { cause });
    this.#ended = error;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#waiting.clear();
    this.#worker.unref();
    this.onLoss(error);
  }
}
