import { messageOf, SerinError } from '../../domain/errors.ts';
import type { TensorData } from '../oip/datatypes.ts';
import type { Tensor, TensorMetadata } from '../oip/model.ts';
import type { TensorSession } from './tensor-session.ts';
import type { ThreadHandle } from './thread-handle.ts';

export interface ThreadSessionOptions {
  /** Loads the model again, in another thread. */
  readonly reopen: () => Promise<ThreadHandle>;
  readonly onLost: (reason: string) => void;
  /** A run that takes longer is given up, and the thread with it. */
  readonly runWithinMs: number;
}

/** Between a lost thread and the next one, and at most between two that fail. */
const REOPEN_AFTER_MS = 1_000;
const REOPEN_AT_MOST_MS = 60_000;

/**
 * A model whose runs would hold the event loop up: they happen in a thread. A thread that hangs or dies is replaced; until
 * then every run fails at once, so that rows go down their ladder instead of waiting.
 */
export class ThreadSession implements TensorSession {
  readonly inputs: readonly TensorMetadata[];
  readonly outputs: readonly TensorMetadata[];
  readonly batched: boolean;
  readonly #name: string;
  readonly #options: ThreadSessionOptions;
  #thread: ThreadHandle | null = null;
  #lost = '';
  #released = false;
  #retry: NodeJS.Timeout | undefined;

  constructor(
    { inputs, outputs, batched }: Pick<TensorSession, 'inputs' | 'outputs' | 'batched'>,
    name: string,
    thread: ThreadHandle,
    options: ThreadSessionOptions,
  ) {
    this.inputs = inputs;
    this.outputs = outputs;
    this.batched = batched;
    this.#name = name;
    this.#options = options;
    this.#take(thread);
  }

  run(inputs: readonly Tensor[], outputs: readonly number[]): Promise<Tensor[]> {
    if (this.#thread === null) {
      return Promise.reject(
        new SerinError('INFERENCE_FAILED', `${this.#name}: ${this.#lost}; it is being loaded again`),
      );
    }
    return this.#thread.ask('run', { inputs: inputs.map(withoutSurroundings), outputs }, this.#options.runWithinMs);
  }

  async release(): Promise<void> {
    this.#released = true;
    clearTimeout(this.#retry);
    const thread = this.#thread;
    this.#thread = null;
    this.#lost = 'it has been unloaded';
    await thread?.end();
  }

  #take(thread: ThreadHandle): void {
    this.#thread = thread;
    thread.onLoss = (error) => {
      this.#thread = null;
      this.#lost = error.message;
      this.#options.onLost(error.message);
      this.#reopenAfter(REOPEN_AFTER_MS);
    };
  }

  #reopenAfter(ms: number): void {
    if (this.#released) return;
    this.#retry = setTimeout(() => {
      this.#options.reopen().then(
        (thread) => {
          if (this.#released) void thread.end();
          else this.#take(thread);
        },
        (error: unknown) => {
          this.#lost = messageOf(error);
          this.#reopenAfter(Math.min(2 * ms, REOPEN_AT_MOST_MS));
        },
      );
    }, ms).unref();
  }
}

/** A tensor that is part of a larger memory (a request's body) would take all of it along. */
function withoutSurroundings(tensor: Tensor): Tensor {
  const { data } = tensor;
  if (Array.isArray(data) || data.byteLength === data.buffer.byteLength) return tensor;
  return { ...tensor, data: (data as Float64Array).slice() as TensorData };
}
