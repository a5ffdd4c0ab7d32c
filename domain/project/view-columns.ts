import { columnsOf } from './expression.ts';
import type { FeatureViewSpec } from './spec.ts';

/** Columns of its source that a view's features read: their values, conditions and groups. */
export function columnsOfView({ features }: Pick<FeatureViewSpec, 'features'>): Set<string> {
  const names = new Set<string>();
  for (const { of, where, by } of features) for (const each of [of, where, by]) if (each) columnsOf(each, names);
  return names;
}
