import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

/** A process, told apart from a later one that was given the same number. */
export interface ProcessIdentity {
  readonly name: string;
  readonly pid: number;
  /** When it started, in the words of the operating system. */
  readonly startedAt: string;
}

export function identify(name: string, pid: number): ProcessIdentity | undefined {
  const startedAt = startOf(pid);
  return startedAt === undefined ? undefined : { name, pid, startedAt };
}

export function isAlive({ pid, startedAt }: ProcessIdentity): boolean {
  return startOf(pid) === startedAt;
}

/** Ends processes that an earlier owner left behind: politely, then not. Waits until they are gone. */
export async function endLeftBehind(processes: readonly ProcessIdentity[], graceMs = 10_000): Promise<void> {
  await Promise.all(
    processes.filter(isAlive).map(async (left) => {
      await signalUntilGone(left, politeSignal(left.name), graceMs);
      await signalUntilGone(left, 'SIGKILL', 5_000);
      killGroup(left.pid);
    }),
  );
}

export async function readProcesses(file: string): Promise<ProcessIdentity[]> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as ProcessIdentity[];
  } catch {
    return []; // none were written, or the writer died before its rename
  }
}

/** Replaces the list in one step; an empty list removes the file. */
export async function writeProcesses(file: string, processes: readonly ProcessIdentity[]): Promise<void> {
  if (processes.length === 0) {
    await rm(file, { force: true });
    return;
  }
  const staged = `${file}.${process.pid}`;
  await writeFile(staged, `${JSON.stringify(processes, null, 2)}\n`);
  await rename(staged, file);
}

/** What a program has started and not ended itself (a trainer, a cluster's processes) ends with it. */
export function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // the usual case: the group ended with its leader
  }
}

async function signalUntilGone(left: ProcessIdentity, signal: NodeJS.Signals, timeoutMs: number): Promise<void> {
  if (!isAlive(left)) return;
  try {
    process.kill(left.pid, signal);
  } catch {
    return; // gone in between
  }
  const deadlineMs = Date.now() + timeoutMs;
  while (isAlive(left) && Date.now() < deadlineMs) await delay(50);
}

/** PostgreSQL takes SIGTERM as "wait for the clients to leave"; SIGINT ends their sessions. */
function politeSignal(name: string): NodeJS.Signals {
  return name === 'postgres' ? 'SIGINT' : 'SIGTERM';
}

function startOf(pid: number): string | undefined {
  try {
    if (!existsSync('/proc/self/stat')) {
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || undefined;
    }
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // the name in parentheses may hold spaces: fields are counted after it; state is the first, start time the 20th
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
