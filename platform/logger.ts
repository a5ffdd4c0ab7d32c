import pino from 'pino';

export type Logger = pino.Logger;

export interface LoggerOptions {
  readonly service: string;
  readonly node: string;
  readonly level: string;
  /** A file instead of stderr. */
  readonly file?: string;
}

/** What cannot be written is held up to here, and written with a later line; what comes beyond is lost. */
const HELD_BYTES = 1 << 20;

/** JSON lines, one object a line, written before the call returns so that the last words of a dying process are kept. */
export function createLogger({ service, node, level, file }: LoggerOptions): Logger {
  const destination = pino.destination({ dest: file ?? 2, sync: true, mkdir: true, maxLength: HELD_BYTES });
  // Unheard, it is thrown at whoever logs, in timers too: a full disk would end every process that has something to say.
  destination.on('error', () => undefined);
  return pino(
    {
      level,
      base: { service, node },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: ['token', 'password', '*.token', '*.password', 'req.headers.authorization'], censor: '***' },
    },
    destination,
  );
}
