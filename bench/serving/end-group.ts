import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

const ENDS_WITHIN_MS = 5_000;

/** Ends a process that leads a group of its own (`detached`), with the workers it has started; by force when it takes too long. */
export async function endGroup(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  process.kill(-child.pid!, 'SIGTERM');
  const timer = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), ENDS_WITHIN_MS);
  await exited;
  clearTimeout(timer);
}
