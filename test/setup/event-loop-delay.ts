import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';

export interface EventLoopDelay {
  /** Milliseconds by which a timer of 1 ms came late, at worst. */
  readonly worstMs: number;
  /**
   * The longest that this thread computed before the timer could go off again: what was done to the event loop, without
   * what it waited for, be it a core that others had or their part of a garbage collection.
   */
  readonly ownMs: number;
}

/** Linux alone says how long a thread has computed. */
export async function delayDuring(work: () => Promise<void>): Promise<EventLoopDelay> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await wait(20);
  delay.reset();
  // the first interval after a reset is not counted
  await wait(5);
  let ownMs = 0;
  let lastMs = computedMs();
  const sampler = setInterval(() => {
    const nowMs = computedMs();
    ownMs = Math.max(ownMs, nowMs - lastMs);
    lastMs = nowMs;
  }, 1);
  try {
    await work();
    await wait(5);
  } finally {
    clearInterval(sampler);
    delay.disable();
  }
  return { worstMs: delay.max / 1e6 - 1, ownMs };
}

/** Milliseconds that this thread has had a core. */
function computedMs(): number {
  return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0]) / 1e6;
}
