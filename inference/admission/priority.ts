import { SerinError } from '../../domain/errors.ts';
import { shownValue } from '../../domain/shown-value.ts';

/** Classes of requests, most urgent first; a class is served before those behind it. */
export const PRIORITIES = ['interactive', 'normal', 'background'] as const;

/** Position in `PRIORITIES`. */
export type Priority = 0 | 1 | 2;
export const INTERACTIVE: Priority = 0;
export const NORMAL: Priority = 1;
export const BACKGROUND: Priority = 2;

/** @param text of the header `x-serin-priority` @throws SerinError INPUT_INVALID */
export function readPriority(text: string | readonly string[]): Priority {
  const at = (PRIORITIES as readonly unknown[]).indexOf(text);
  if (at >= 0) return at as Priority;
  throw new SerinError('INPUT_INVALID', `x-serin-priority is ${shownValue(text)}, expected ${PRIORITIES.join(', ')}`, {
    fields: { field: 'x-serin-priority' },
  });
}

/**
 * The parameter `priority` of the protocol's schedule policy, where 1 is the highest and 0 the default.
 * @throws SerinError INPUT_INVALID
 */
export function priorityOfLevel(level: unknown): Priority {
  if (level === undefined || level === 0) return NORMAL;
  if (!Number.isSafeInteger(level) || (level as number) < 0)
    throw new SerinError('INPUT_INVALID', `the parameter "priority" is ${shownValue(level)}, expected 0, 1, 2 …`);
  return Math.min((level as number) - 1, BACKGROUND) as Priority;
}
