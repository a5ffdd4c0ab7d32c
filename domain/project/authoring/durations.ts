import {
  MICROS_PER_DAY,
  MICROS_PER_HOUR,
  MICROS_PER_MILLISECOND,
  MICROS_PER_MINUTE,
  MICROS_PER_SECOND,
} from '../../time.ts';

/** A length of time; `minutes(5)`, `hours(24)`, `days(7)`. A day is always 86,400 seconds. */
export interface Duration {
  readonly micros: number;
}

export function micros(count: number): Duration {
  return { micros: count };
}

export function seconds(count: number): Duration {
  return { micros: count * MICROS_PER_SECOND };
}

export function minutes(count: number): Duration {
  return { micros: count * MICROS_PER_MINUTE };
}

export function hours(count: number): Duration {
  return { micros: count * MICROS_PER_HOUR };
}

export function days(count: number): Duration {
  return { micros: count * MICROS_PER_DAY };
}

/** Milliseconds, the unit of durations in rollout policies and monitors. */
export function inMs({ micros: length }: Duration): number {
  return length / MICROS_PER_MILLISECOND;
}

/** The unit of freshness promises. */
export function inSeconds({ micros: length }: Duration): number {
  return length / MICROS_PER_SECOND;
}
