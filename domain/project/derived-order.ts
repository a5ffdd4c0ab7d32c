import { SerinError } from '../errors.ts';
import { columnsOf } from './expression.ts';
import type { FeatureSetSpec, FeatureSpec } from './spec.ts';

export type DerivedFeature = Extract<FeatureSpec, { readonly kind: 'derived' }>;

/**
 * The derived features of a set, each after those it reads; otherwise in the order of the set.
 * @throws SerinError REFERENCE_CYCLE naming the features of the cycle
 */
export function orderOfDerived(set: Pick<FeatureSetSpec, 'features'>, path = 'features'): DerivedFeature[] {
  const derived = new Map(
    set.features.filter((feature) => feature.kind === 'derived').map((feature) => [feature.name, feature]),
  );
  const ordered = new Set<DerivedFeature>();
  const underWay: string[] = [];

  const visit = (feature: DerivedFeature): void => {
    if (ordered.has(feature)) return;
    const start = underWay.indexOf(feature.name);
    if (start >= 0) throw cycle([...underWay.slice(start), feature.name], path);
    underWay.push(feature.name);
    for (const name of columnsOf(feature.expression)) {
      const read = derived.get(name);
      if (read !== undefined) visit(read);
    }
    underWay.pop();
    ordered.add(feature);
  };

  for (const feature of derived.values()) visit(feature);
  return [...ordered];
}

function cycle(names: readonly string[], path: string): SerinError {
  return new SerinError(
    'REFERENCE_CYCLE',
    `${path}: ${names.join(' reads ')}; a derived feature must not read itself, directly or through others`,
    {
      fields: { field: path, value: names, rule: 'derived features form no cycle' },
    },
  );
}
