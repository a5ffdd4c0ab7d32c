/** What online reads said, bit for bit: the spine of the recomputation. */
import type { Micros } from '../../../domain/time.ts';
import type { OutputValue } from '../../../features/history/plan.ts';
import type { SkewRead } from './aim.ts';
import type { Moment } from './coverage.ts';

export interface ViewAnswer {
  readonly values: readonly OutputValue[];
  /** As the normative text has them: of the value before a default. */
  readonly statuses: readonly string[];
}

export interface ReadRecord {
  readonly read: SkewRead;
  /** The instant the answers hold at: `asOf`, or the fold point of a state where that is later. */
  readonly readAt: Micros;
  /** Per view, the last ingest sequence that was in the snapshot; 0: the view was never fed, −1: it was not asked. */
  readonly knownSeq: readonly number[];
  /** Per view. */
  readonly answers: readonly ViewAnswer[];
  /** Rows that were asked for together. */
  readonly batch: number;
  readonly moments: readonly Moment[];
}

/** Equal to the last bit: NaN is NaN, −0 is 0 (which is how they are stored), lists pair by pair. */
export function sameValue(a: OutputValue, b: OutputValue): boolean {
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return (a as readonly (readonly OutputValue[])[]).every((pair, i) =>
      pair.every((part, j) => sameValue(part, (b as readonly (readonly OutputValue[])[])[i]![j]!)),
    );
  }
  if (typeof a === 'number' && typeof b === 'number') return Object.is(a + 0, b + 0);
  return a === b;
}

/** Position of the first output in which two answers differ; −1: none. */
export function firstDifference(a: ViewAnswer, b: ViewAnswer): number {
  for (let i = 0; i < Math.max(a.values.length, b.values.length); i++) {
    if (a.statuses[i] !== b.statuses[i] || !sameValue(a.values[i]!, b.values[i]!)) return i;
  }
  return -1;
}

export function showAnswer({ values, statuses }: ViewAnswer, output: number): string {
  return `${showValue(values[output]!)} (${statuses[output]})`;
}

export function showValue(value: OutputValue): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'bigint' ? `${part}` : typeof part === 'number' && !Number.isFinite(part) ? String(part) : part,
  );
}
