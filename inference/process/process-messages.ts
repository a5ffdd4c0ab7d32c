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

export function isReadinessMessage(message: unknown): message is ReadinessMessage {
  return typeof message === 'object' && message !== null && (message as { type?: unknown }).type === 'serin.readiness';
}
