/**
 * One of the two kernels for each view. Tiles hold numbers only and answer fastest; the history kernel knows the whole of
 * the selection rule and every function. Which one a view gets follows from its definition alone, so that offline and
 * online take the same.
 */
import { SerinError } from '../../domain/errors.ts';
import { type ColumnType, typeOf } from '../../domain/project/expression.ts';
import type {
  AggregateFunction,
  AggregateSpec,
  EntitySpec,
  FeatureViewSpec,
  ProjectSpec,
  SourceSpec,
} from '../../domain/project/spec.ts';
import { versioned } from '../../domain/project/spec.ts';
import { compileHistoryView, isAppendOnly } from '../history/compile.ts';
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

const TILE_FUNCTIONS: ReadonlySet<AggregateFunction> = new Set(['count', 'sum', 'mean', 'min', 'max', 'share']);

/**
 * Whether tiles give the very values that the rules ask for. A tile sums doubles in steps of 2^-32, skips what is not finite
 * and holds whole numbers up to 2^53: so a view that aggregates `f64` is kept as history, and one of whole numbers is too
 * unless their declared range keeps the sums of a window exact.
 */
export function fitsTiles(view: FeatureViewSpec, source: SourceSpec, entity: EntitySpec): boolean {
  if (!isAppendOnly(source) || (view.boundary ?? 'inclusive') !== 'inclusive' || view.ttlMicros !== undefined)
    return false;
  if (entity.keys.length === 0) return false;
  const types = new Map(source.columns.map(({ name, type }) => [name, type]));
  return view.features.every((feature) => featureFits(feature, types));
}

function featureFits(feature: AggregateSpec, types: ReadonlyMap<string, ColumnType>): boolean {
  const { fn, of, by, default: fallback, windows } = feature;
  if (!TILE_FUNCTIONS.has(fn) || by !== undefined || (fallback !== null && typeof fallback !== 'number')) return false;
  if (of !== null && fn !== 'share' && typeOf(of, types) !== 'i64') return false;
  return windows.every(({ lengthMicros, offsetMicros = 0 }) => lengthMicros !== null && offsetMicros === 0);
}
