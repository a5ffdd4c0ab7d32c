import type { ErrorCode } from '../domain/errors.ts';
import { ERRORS } from '../domain/errors.ts';

/** What a script can tell from how a command ended. */
export const EXIT = { done: 0, failed: 1, usage: 2, notAllowed: 4, running: 8 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** 4 where the token or the role is not enough, else 1. */
export function exitCodeOf(code: ErrorCode): ExitCode {
  const { status } = ERRORS[code];
  return status === 401 || status === 403 ? EXIT.notAllowed : EXIT.failed;
}
