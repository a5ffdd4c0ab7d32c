import pino from 'pino';

export type Logger = pino.Logger;

export interface LoggerOptions {
  readonly service: string;
  readonly node: string;
  readonly level: string;
  /** A file instead of stderr. */
  readonly file?: string;
}

/** JSON lines, one object a line, written before the call returns so that the last words of a dying process are kept. */
export function createLogger({ service, node, level, file }: LoggerOptions): Logger {
  return pino(
    {
      level,
      base: { service, node },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: ['token', 'password', '*.token', '*.password', 'req.headers.authorization'], censor: '***' },
    },
    pino.destination({ dest: file ?? 2, sync: true, mkdir: true }),
  );
}
