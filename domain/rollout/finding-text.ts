import { isShare } from './analysis-state.ts';
import type { GuardrailMetric } from './policy.ts';

/** `4,212` */
export function count(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** A share as a percentage with two decimals: `5.02 %`. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

/** `+0.0031`, with a true minus sign. */
export function signedValue(value: number, digits = 4): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(digits)}`;
}

/** `errors +0.31 pp [−0.02, +0.64], margin 0.50 pp, n = 4,212`; score and loss in their own unit. */
export function intervalText({
  metric,
  estimate,
  lower,
  upper,
  margin,
  n,
}: {
  readonly metric: GuardrailMetric;
  readonly estimate: number;
  readonly lower: number;
  readonly upper: number;
  readonly margin: number;
  readonly n: number;
}): string {
  if (!isShare(metric)) {
    return `${metric} ${signedValue(estimate)} [${signedValue(lower)}, ${signedValue(upper)}], margin ${margin.toFixed(4)}, n = ${count(n)}`;
  }
  const points = (value: number) => signedValue(100 * value, 2);
  return `${metric} ${points(estimate)} pp [${points(lower)}, ${points(upper)}], margin ${(100 * margin).toFixed(2)} pp, n = ${count(n)}`;
}
