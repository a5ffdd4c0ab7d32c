/**
 * One of the two kernels for each view. Tiles hold numbers only and answer fastest; the history kernel knows the whole of
 * the selection rule and every function. Which one a view gets follows from its definition alone, so that offline and
 * online take the same.
 */
import { SerinError } from '../../domain/errors.ts';
import type { EntitySpec, FeatureViewSpec, ProjectSpec, SourceSpec } from '../../domain/project/spec.ts';
import { versioned } from '../../domain/project/spec.ts';
import { fitsTiles } from '../../domain/project/view-kernel.ts';
import { compileHistoryView } from '../history/compile.ts';
import type { HistoryPlan } from '../history/plan.ts';
import { compileView as compileTiles, type ViewPlan } from './view-plan.ts';

export type CompiledView =
  | { readonly kind: 'tiles'; readonly plan: ViewPlan }
  | { readonly kind: 'history'; readonly plan: HistoryPlan };

export function compileView(view: FeatureViewSpec, source: SourceSpec, entity: EntitySpec): CompiledView {
  return fitsTiles(view, source, entity)
    ? { kind: 'tiles', plan: compileTiles(view, source, entity) }
    : { kind: 'history', plan: compileHistoryView(view, source, entity) };
}

/** @param viewId `name@version` @throws REFERENCE_MISSING for a view, source or entity that does not exist */
export function compileViewOf(project: ProjectSpec, viewId: string): CompiledView {
  const view = named(project.views, viewId, 'feature view', versioned);
  const source = named(project.sources, view.source, 'source', ({ name }) => name);
  const entity = named(project.entities, view.entity, 'entity', ({ name }) => name);
  return compileView(view, source, entity);
}

function named<T>(all: readonly T[], name: string, what: string, nameOf: (item: T) => string): T {
  const found = all.find((item) => nameOf(item) === name);
  if (found) return found;
  const existing = all.map(nameOf).join(', ') || 'none';
  throw new SerinError(
    'REFERENCE_MISSING',
    `the ${what} "${name}" is used, which does not exist; there are ${existing}`,
  );
}
