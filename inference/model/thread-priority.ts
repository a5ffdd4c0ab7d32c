/**
 * A thread that gives way to the others. On Linux a priority is a thread's own: a load beside a busy event loop then takes
 * what the loop leaves. Elsewhere it would be the whole process's, and nothing is done.
 */
import { readFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';

const THIS_THREAD = 0;
/**
 * A third of a normal thread's share of a contended core. Much less would do harm: what the kernel locks for the whole process
 * (its memory map) stays locked while a thread that holds it waits for a core.
 */
const GIVING_WAY = 5;

/** Gives way until `giveWayNoMore`. */
export function giveWay(): void {
  if (process.platform === 'linux') setPriority(THIS_THREAD, GIVING_WAY);
}

/** Of a thread that has not given way too. @returns whether this thread is as quick as the others again: going back up needs a right that not every user has */
export function giveWayNoMore(): boolean {
  if (process.platform !== 'linux') return true;
  try {
    setPriority(THIS_THREAD, constants.priority.PRIORITY_NORMAL);
    return true;
  } catch {
    return false;
  }
}

/** Milliseconds that this thread has been running on a core, told at each tick of the kernel; null where it cannot be known. */
export function runningMs(): number | null {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ', 1)[0]) / 1e6;
  } catch {
    return null;
  }
}
