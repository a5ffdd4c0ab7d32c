/** What a thread that works with DuckDB says to its owner, and how the owner hears it. */
import type { Worker } from 'node:worker_threads';
import { type ErrorCode, SerinError } from '../../domain/errors.ts';

export type ThreadMessage<Result> =
  /** Rows of the work that have gone by. */
  | { readonly type: 'progress'; readonly rows: number }
  | { readonly type: 'done'; readonly result: Result }
  | {
      readonly type: 'refused';
      readonly code: ErrorCode;
      readonly detail: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  | { readonly type: 'crashed'; readonly message: string };

/**
 * Waits for the end of the one piece of work that a thread has, or is about to be sent.
 * @param name of the thread, for errors that are bugs  @param onRows told how many rows have gone by, over and over
 * @throws what the work is refused with
 */
export function answerOf<Result>(worker: Worker, name: string, onRows?: (rows: number) => void): Promise<Result> {
  return new Promise((resolve, reject) => {
    const settle = (end: () => void): void => {
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
      end();
    };
    const onMessage = (message: ThreadMessage<Result>): void => {
      switch (message.type) {
        case 'progress':
          onRows?.(message.rows);
          return;
        case 'done':
          settle(() => resolve(message.result));
          return;
        case 'refused':
          settle(() => reject(new SerinError(message.code, message.detail, { fields: message.fields })));
          return;
        case 'crashed':
          settle(() => reject(new Error(`the ${name} thread crashed: ${message.message}`)));
      }
    };
    const onError = (error: Error): void => settle(() => reject(error));
    const onExit = (code: number): void =>
      settle(() => reject(new Error(`the ${name} thread ended with ${code} and no result`)));
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
  });
}
