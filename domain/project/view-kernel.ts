/**
 * Which of the two kernels a view gets (`features/kernel/compiled-view.ts`). It follows from the definitions alone, so that
 * offline and online take the same, and a plan can say that a change would move a view from one to the other.
 */
import type { Expression } from './expression.ts';
import type { AggregateFunction, AggregateSpec, ColumnSpec, EntitySpec, FeatureViewSpec, SourceSpec } from './spec.ts';

/** Events are never corrected or taken back. */
export function isAppendOnly({ revisions, operation }: SourceSpec): boolean {
  return revisions !== 'versions' && (operation?.retract ?? null) === null && (operation?.tombstone ?? null) === null;
}

const TILE_FUNCTIONS: ReadonlySet<AggregateFunction> = new Set(['count', 'sum', 'mean', 'min', 'max', 'share']);

/** Sums of up to 2^21 whole numbers below this are exact in a double. */
const LARGEST_WHOLE = 2 ** 32;

/**
 * Whether tiles give the very values that the rules ask for. They sum doubles in steps of 2^-32, skip what is not finite, and
 * hold whole numbers up to 2^53 in a sum: so what is aggregated must be whole numbers whose declared range keeps within
 * `LARGEST_WHOLE`, or no values at all (rows, conditions).
 */
export function fitsTiles(view: FeatureViewSpec, source: SourceSpec, entity: EntitySpec): boolean {
  if (!isAppendOnly(source) || (view.boundary ?? 'inclusive') !== 'inclusive' || entity.keys.length === 0) return false;
  const columns = new Map(source.columns.map((column) => [column.name, column]));
  return view.features.every((feature) => featureFits(feature, columns));
}

function featureFits(feature: AggregateSpec, columns: ReadonlyMap<string, ColumnSpec>): boolean {
  const { fn, of, by, default: fallback, windows } = feature;
  if (!TILE_FUNCTIONS.has(fn) || by !== undefined || (fallback !== null && typeof fallback !== 'number')) return false;
  if (of !== null && fn !== 'share' && !(largestWhole(of, columns) <= LARGEST_WHOLE)) return false;
  return windows.every(
    ({ lengthMicros, offsetMicros = 0 }) => Number.isSafeInteger(lengthMicros) && offsetMicros === 0,
  );
}

/** The largest size of a whole-number expression by its columns' ranges; Infinity: there is no bound, or it is of another type. */
function largestWhole(of: Expression, columns: ReadonlyMap<string, ColumnSpec>): number {
  const largest = (...parts: readonly Expression[]): number =>
    Math.max(...parts.map((part) => largestWhole(part, columns)));
  switch (of.op) {
    case 'column': {
      const { type, min = -Infinity, max = Infinity } = columns.get(of.name)!;
      return type === 'i64' ? Math.max(Math.abs(min), Math.abs(max)) : Infinity;
    }
    case 'literal':
      return of.type === 'i64' ? Math.abs(Number(of.value)) : Infinity;
    case 'add':
    case 'sub':
      return largestWhole(of.left, columns) + largestWhole(of.right, columns);
    case 'mul':
      return largestWhole(of.left, columns) * largestWhole(of.right, columns);
    case 'abs':
      return largestWhole(of.of, columns);
    case 'greatest':
    case 'least':
    case 'coalesce':
      return largest(...of.of);
    case 'hourOfDay':
    case 'dayOfWeek':
      return 24;
    default:
      return Infinity;
  }
}
