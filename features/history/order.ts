/** Orders of the history kernel: of positions (rule 5) and of values (rule 9: NaN equals NaN and is above +∞, −0 equals 0). */
import { compareValues } from '../../domain/project/expression.ts';
import type { Datum, Fact } from './fact.ts';
import type { Instant } from '../../domain/instant.ts';

export type Position = Pick<Fact, 'eventAt' | 'availableAt' | 'seq'>;

/** By (eventAt, availableAt, seq), left to right: the only order of rows there is. */
export function comparePositions(a: Position, b: Position): number {
  if (a.eventAt !== b.eventAt) return a.eventAt < b.eventAt ? -1 : 1;
  return compareKnowledge(a, b);
}

/** By (availableAt, seq): which of the versions of a row stands. */
export function compareKnowledge(
  a: { readonly availableAt: Instant; readonly seq: number },
  b: { readonly availableAt: Instant; readonly seq: number },
): number {
  if (a.availableAt !== b.availableAt) return a.availableAt < b.availableAt ? -1 : 1;
  return a.seq - b.seq;
}

export function compareData(a: NonNullable<Datum>, b: NonNullable<Datum>): number {
  return compareValues(a, b);
}
