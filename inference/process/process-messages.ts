import type { Logger } from '../../platform/logger.ts';

/** What the tier tells whoever started it (log line, and IPC where there is a channel). */
export interface Listening {
  readonly url: string;
  readonly metricsUrl: string;
}

export function announceListening(logger: Logger, { url, metricsUrl }: Listening): void {
  logger.info({ url, metricsUrl }, 'listening');
  process.send?.({ type: 'listening', url, metricsUrl });
}

/** What a serving process tells its primary when its readiness changes. */
export interface ReadinessMessage {
  readonly type: 'serin.readiness';
  readonly ready: boolean;
}

/** What a serving process tells its primary as long as its event loop turns. */
export interface AliveMessage {
  readonly type: 'serin.alive';
}

export const ALIVE_EVERY_MS = 1_000;

export function isAliveMessage(message: unknown): message is AliveMessage {
  return isOfType(message, 'serin.alive');
}

export function isReadinessMessage(message: unknown): message is ReadinessMessage {
  return isOfType(message, 'serin.readiness');
}

function isOfType(message: unknown, type: string): boolean {
  return typeof message === 'object' && message !== null && (message as { type?: unknown }).type === type;
}
