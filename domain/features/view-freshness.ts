import { MICROS_PER_SECOND, type Micros } from '../time.ts';

/** What is known of an online view in use. */
export interface ViewClocks {
  /** The newest event in it; null: there is none. */
  readonly newestEventAt: Micros | null;
  /** The clock of those who push less the wall's, in µs; null: nothing was pushed yet, the wall's clock is taken. */
  readonly clockOffset: number | null;
  /** Since when (wall clock) the oldest event waits that the view does not have; null: it has all. */
  readonly waitsSince: Micros | null;
  /** What the last batch took from being taken in to being readable, µs; null: there was none. */
  readonly lastDelay: number | null;
}

/** Data time can be old while the pipeline is quick (nobody pushes) and the other way round: each breaks the promise by itself. */
export type FreshnessClock = 'data' | 'pipeline';

export interface ViewFreshness {
  /** Age of the newest event by the clock of its source; null: there is no event. */
  readonly dataAgeSeconds: number | null;
  /** How long the oldest waiting event has waited; 0: none waits. */
  readonly waitingSeconds: number;
  readonly lastDelaySeconds: number | null;
  /** Clocks on which the view is older than its SLA allows. */
  readonly breached: readonly FreshnessClock[];
}

/** @param now wall clock */
export function freshnessOf(clocks: ViewClocks, slaSeconds: number, now: Micros): ViewFreshness {
  const { newestEventAt, clockOffset, waitsSince, lastDelay } = clocks;
  const seconds = (micros: number): number => Math.max(0, micros) / MICROS_PER_SECOND;
  const dataAgeSeconds = newestEventAt === null ? null : seconds(now + (clockOffset ?? 0) - newestEventAt);
  const waitingSeconds = waitsSince === null ? 0 : seconds(now - waitsSince);
  const breached: FreshnessClock[] = [];
  if (dataAgeSeconds !== null && dataAgeSeconds > slaSeconds) breached.push('data');
  if (waitingSeconds > slaSeconds) breached.push('pipeline');
  return {
    dataAgeSeconds,
    waitingSeconds,
    lastDelaySeconds: lastDelay === null ? null : seconds(lastDelay),
    breached,
  };
}
