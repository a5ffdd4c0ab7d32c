import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';

export interface EventLoopDelay {
  /** Milliseconds by which a timer of 1 ms came late, at worst. */
  readonly worstMs: number;
  /** The same without the time in which the event loop could have run and other threads had the cores: what was done to it. */
  readonly ownMs: number;
}

/** Linux alone says how long a thread has waited for a core. */
export async function delayDuring(work: () => Promise<void>): Promise<EventLoopDelay> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await wait(20);
  delay.reset();
  // the first interval after a reset is not counted
  await wait(5);
  let ownMs = 0;
  let [lastMs, lastWaitedMs] = [performance.now(), waitedForCoreMs()];
  const sampler = setInterval(() => {
    const [nowMs, waitedMs] = [performance.now(), waitedForCoreMs()];
    ownMs = Math.max(ownMs, nowMs - lastMs - 1 - (waitedMs - lastWaitedMs));
    [lastMs, lastWaitedMs] = [nowMs, waitedMs];
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

/** Milliseconds that this thread was ready to run and another one had the core. */
function waitedForCoreMs(): number {
  return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[1]) / 1e6;
}
