/**
 * Which rows train, which test, and which do neither, so that no training row knows what a test row is asked
 * (purge and embargo: López de Prado, "Advances in Financial Machine Learning", 2018, chapter 7).
 *
 *   TEST          testStart ≤ t < testEnd
 *   PURGED        before the test: the label is known only after its start, t + reach + delay > testStart
 *                 after it: the test rows' labels reach over t, t < testEnd + reach          reach = gap + horizon
 *   EMBARGOED     after it: t < testEnd + reach + embargo
 *   GROUP_PURGED  would train, but a test row has the same group
 *   TRAIN         the rest
 */
import { type Instant, plus } from '../instant.ts';
import { refuse, splitFault } from './definition-rules.ts';

export type SplitPart = 'TRAIN' | 'TEST' | 'PURGED' | 'EMBARGOED' | 'GROUP_PURGED';

/** Durations in microseconds, none negative; a horizon of 0 is of labels that are known with their own event. */
export interface SplitRule {
  readonly testStart: Instant;
  readonly testEnd: Instant;
  readonly gap: Instant;
  readonly horizon: Instant;
  readonly delay: Instant;
  readonly embargo: Instant;
}

export type GroupValue = string | number | bigint | boolean | null;

/** @throws SerinError BAD_DURATION */
export function checkSplitRule(rule: SplitRule, path: string): void {
  refuse(splitFault(rule), path);
}

/** The part of one row by its time alone; groups are settled by `splitRows`. */
export function splitAt(rule: SplitRule, at: Instant): Exclude<SplitPart, 'GROUP_PURGED'> {
  const reach = plus(rule.gap, rule.horizon);
  if (at < rule.testStart) return plus(at, plus(reach, rule.delay)) > rule.testStart ? 'PURGED' : 'TRAIN';
  if (at < rule.testEnd) return 'TEST';
  const reached = plus(rule.testEnd, reach);
  if (at < reached) return 'PURGED';
  return at < plus(reached, rule.embargo) ? 'EMBARGOED' : 'TRAIN';
}

/**
 * The parts of all rows, in their order.
 * @param groups one per row (null: of no group); null: rows are not grouped
 */
export function splitRows(
  rule: SplitRule,
  times: readonly Instant[],
  groups: readonly GroupValue[] | null,
): SplitPart[] {
  const parts: SplitPart[] = times.map((at) => splitAt(rule, at));
  if (groups === null) return parts;
  const tested = new Set(groups.filter((group, row) => group !== null && parts[row] === 'TEST'));
  return parts.map((part, row) => (part === 'TRAIN' && tested.has(groups[row]!) ? 'GROUP_PURGED' : part));
}
