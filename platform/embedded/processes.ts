import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readSync, fstatSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { SerinError } from '../../domain/errors.ts';
import type { Logger } from '../logger.ts';
import { killGroup } from './process-table.ts';

export interface ProgramOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** stdout and stderr are appended here. */
  readonly logFile: string;
  readonly logger: Logger;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Gives a Node child a channel on which it notices the death of this process. */
  readonly ipc?: boolean;
  readonly stopSignal?: NodeJS.Signals;
  /** Called as soon as it exists, before it is ready. */
  readonly onSpawn?: ((pid: number) => void) | undefined;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last lines it wrote. */
  readonly lastWords: string;
}

export interface RunningProgram {
  readonly name: string;
  readonly pid: number;
  /** Resolves when it has ended, for whatever reason. */
  readonly exited: Promise<Exit>;
  /** Asks it to stop, insists after the grace period, and waits until it is gone. */
  stop(graceMs?: number): Promise<void>;
  /** kill -9, as a crash would. */
  kill(): Promise<void>;
}

/**
 * Starts a program in a process group of its own, so that Ctrl-C on the terminal reaches only its parent, which then
 * stops the parts in order.
 * @throws SerinError `PREREQUISITE_MISSING` when it cannot be started at all
 */
export async function startProgram(options: ProgramOptions): Promise<RunningProgram> {
  const { name, command, args, env, logFile, logger, cwd, uid, gid, ipc = false, stopSignal = 'SIGTERM' } = options;
  mkdirSync(dirname(logFile), { recursive: true });
  const log = openSync(logFile, 'a');
  const logStart = fstatSync(log).size;
  const child = spawn(command, [...args], {
    env: { ...env },
    stdio: ipc ? ['ignore', log, log, 'ipc'] : ['ignore', log, log],
    detached: true,
    ...(cwd === undefined ? {} : { cwd }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  });
  closeSync(log);
  let stopping = false;
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => {
      const exit = { code, signal, lastWords: lastWords(logFile, logStart) };
      if (!stopping) logger.warn({ part: name, code, signal, logFile }, 'a part of the platform ended');
      resolve(exit);
    });
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (error) =>
      reject(
        new SerinError('PREREQUISITE_MISSING', `${name} cannot be started from ${command}: ${error.message}`, {
          cause: error,
        }),
      ),
    );
  });
  const { pid } = child;
  if (pid === undefined) throw new SerinError('PREREQUISITE_MISSING', `${name} has no process`);
  options.onSpawn?.(pid);

  async function end(signal: NodeJS.Signals, graceMs: number): Promise<void> {
    stopping = true;
    child.kill(signal);
    const patience = new AbortController();
    await Promise.race([exited, delay(graceMs, undefined, { signal: patience.signal }).catch(() => undefined)]);
    patience.abort();
    child.kill('SIGKILL');
    await exited;
  }
  const stop = async (graceMs = 15_000): Promise<void> => {
    await end(stopSignal, graceMs);
    killGroup(pid);
  };
  return { name, pid, exited, stop, kill: () => end('SIGKILL', 0) };
}

export interface ProcessOptions {
  readonly name: string;
  /** `file:` URL of a compiled module. */
  readonly module: string;
  readonly args?: readonly string[];
  readonly nodeArgs?: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logFile: string;
  /** Answers 2xx once the process is ready. */
  readonly readyUrl?: string;
  readonly readyTimeoutMs?: number;
  /** Gives up waiting, and stops the process. */
  readonly signal?: AbortSignal;
  readonly logger: Logger;
  readonly onSpawn?: ((pid: number) => void) | undefined;
}

/**
 * Starts one of our own processes and waits until it is ready.
 * @throws SerinError `PREREQUISITE_MISSING` with the last lines of its log when it ends or stays unready
 */
export async function startProcess(options: ProcessOptions): Promise<RunningProgram> {
  const {
    name,
    module,
    args = [],
    nodeArgs = [],
    env,
    logFile,
    readyUrl,
    readyTimeoutMs = 60_000,
    logger,
    signal,
  } = options;
  const program = await startProgram({
    name,
    command: process.execPath,
    args: ['--enable-source-maps', ...nodeArgs, fileURLToPath(module), ...args],
    env,
    logFile,
    logger,
    ipc: true,
    onSpawn: options.onSpawn,
  });
  if (readyUrl !== undefined) {
    await waitUntilReady(program, () => answers(readyUrl), { timeoutMs: readyTimeoutMs, logFile, signal });
  }
  return program;
}

interface ReadinessOptions {
  readonly timeoutMs: number;
  readonly logFile: string;
  readonly everyMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Waits until `isReady` says so. A program that ends first, or is not ready in time, is an error that carries what it
 * said last; it is stopped.
 */
export async function waitUntilReady(
  program: RunningProgram,
  isReady: () => Promise<boolean>,
  { timeoutMs, logFile, everyMs = 50, signal }: ReadinessOptions,
): Promise<void> {
  let ended: Exit | undefined;
  void program.exited.then((exit) => {
    ended = exit;
  });
  const deadlineMs = Date.now() + timeoutMs;
  while (!(await isReady())) {
    if (signal?.aborted) {
      await program.stop(2_000);
      throw new SerinError('CANCELLED', `${program.name} was not waited for`);
    }
    if (ended === undefined && Date.now() > deadlineMs) {
      await program.stop(2_000);
      throw new SerinError(
        'PREREQUISITE_MISSING',
        `${program.name} was not ready after ${timeoutMs / 1000} s; its log is ${logFile}`,
      );
    }
    if (ended !== undefined) throw new EarlyExit(program.name, ended, logFile);
    await delay(everyMs);
  }
}

/** A program ended before it was ready. */
export class EarlyExit extends SerinError {
  readonly exit: Exit;

  constructor(name: string, exit: Exit, logFile: string) {
    const how = exit.signal === null ? `with code ${String(exit.code)}` : `by ${exit.signal}`;
    super(
      'PREREQUISITE_MISSING',
      `${name} ended ${how} before it was ready; its log ${logFile} ends:\n${exit.lastWords}`,
    );
    this.exit = exit;
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    const reply = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    await reply.arrayBuffer();
    return reply.ok;
  } catch {
    return false;
  }
}

const LAST_WORDS_BYTES = 2_000;

function lastWords(logFile: string, from: number): string {
  try {
    const file = openSync(logFile, 'r');
    try {
      const { size } = fstatSync(file);
      const start = Math.max(from, size - LAST_WORDS_BYTES);
      const bytes = Buffer.alloc(Math.max(0, size - start));
      readSync(file, bytes, 0, bytes.length, start);
      return bytes.toString('utf8').trimEnd();
    } finally {
      closeSync(file);
    }
  } catch {
    return '';
  }
}
