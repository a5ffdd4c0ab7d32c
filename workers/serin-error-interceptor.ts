import { ApplicationFailure } from '@temporalio/common';
import type { ActivityExecuteInput, ActivityInboundCallsInterceptor, Next } from '@temporalio/worker';
import { asDatabaseError } from '../db/database.ts';
import { SerinError } from '../domain/errors.ts';

/** Turns a typed error into a failure that Temporal understands: its code is the type, what cannot help is not retried. */
export class SerinErrorInterceptor implements ActivityInboundCallsInterceptor {
  async execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    try {
      return await next(input);
    } catch (thrown) {
      const error = asDatabaseError(thrown);
      if (!(error instanceof SerinError)) throw error;
      throw ApplicationFailure.create({
        message: error.message,
        type: error.code,
        nonRetryable: !error.retryable,
        details: [error.fields],
        cause: error,
      });
    }
  }
}
