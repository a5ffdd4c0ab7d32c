import type { Logger } from './logger.ts';

type Close = () => Promise<unknown>;

interface ShutdownTarget {
  readonly channel?: { unref(): void } | null | undefined;
  on(event: 'SIGTERM' | 'SIGINT' | 'disconnect', listener: () => void): unknown;
  on(event: 'uncaughtExceptionMonitor', listener: (error: Error, origin: string) => void): unknown;
}

export interface ShutdownOptions {
  readonly logger: Logger;
  /** How long the closing may take in all before the process exits with 1. */
  readonly deadlineMs?: number;
  /** What is told to end: this process, replaced in tests. */
  readonly target?: ShutdownTarget;
  /** Replaced in tests. */
  readonly exit?: (code: number) => void;
}

export interface Shutdown {
  /** Registers something to close; what was registered last is closed first. */
  onClose(name: string, close: Close): void;
  /** Closes everything once and exits; also what SIGTERM and SIGINT do. A second signal exits at once. */
  start(reason: string): Promise<void>;
}

/** The orderly end of a process: on SIGTERM, SIGINT or the death of the parent that started it, newest first. */
export function createShutdown({
  logger,
  deadlineMs = 20_000,
  target = process,
  exit = (code) => process.exit(code),
}: ShutdownOptions): Shutdown {
  const closers: { readonly name: string; readonly close: Close }[] = [];
  let ending: Promise<void> | undefined;

  async function closeAll(reason: string): Promise<void> {
    logger.info({ reason }, 'shutting down');
    const deadline = setTimeout(() => {
      logger.error({ deadlineMs }, 'shutdown took too long');
      exit(1);
    }, deadlineMs);
    deadline.unref();
    let failed = false;
    for (const { name, close } of closers.toReversed()) {
      try {
        await close();
      } catch (error) {
        failed = true;
        logger.error({ err: error, part: name }, 'could not close');
      }
    }
    clearTimeout(deadline);
    logger.info('stopped');
    exit(failed ? 1 : 0);
  }

  function start(reason: string): Promise<void> {
    ending ??= closeAll(reason);
    return ending;
  }

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    target.on(signal, () => {
      if (ending !== undefined) exit(1);
      void start(signal);
    });
  }
  // it goes on ending the process, whose state may be half changed
  target.on('uncaughtExceptionMonitor', (error, origin) =>
    logger.fatal({ err: error, origin }, 'the process ends by an error that nobody caught'),
  );
  if (target.channel) {
    target.on('disconnect', () => void start('the parent process has ended'));
    target.channel.unref();
  }
  return { onClose: (name, close) => closers.push({ name, close }), start };
}
