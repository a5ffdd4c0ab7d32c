import { cancellationSignal, heartbeat } from '@temporalio/activity';
import { SerinError } from '../domain/errors.ts';

const HEARTBEAT_EVERY_MS = 1_000;

export interface Beating {
  readonly signal: AbortSignal;
  /** What the next heartbeat says; a retry sees the last one that was delivered. */
  readonly progress: (...details: unknown[]) => void;
}

/**
 * Runs long work that keeps the event loop free and heartbeats for it, so that a dead worker is noticed in seconds and a
 * cancellation reaches the work as an aborted signal.
 */
export async function withHeartbeat<T>(work: (beating: Beating) => Promise<T>): Promise<T> {
  let details: unknown[] = [];
  const timer = setInterval(() => heartbeat(...details), HEARTBEAT_EVERY_MS);
  const signal = cancellationSignal();
  try {
    const progress = (...latest: unknown[]) => {
      details = latest;
      heartbeat(...latest);
    };
    return await work({ signal, progress });
  } catch (error) {
    // the SDK tells a cancelled activity by its own failure, which the aborted signal carries
    if (signal.aborted && error instanceof SerinError && error.code === 'CANCELLED') throw signal.reason;
    throw error;
  } finally {
    clearInterval(timer);
  }
}
