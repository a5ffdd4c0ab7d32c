import type { AggregateSpec } from '../../domain/project/spec.ts';

/** The latest value of a column, under its name. */
export function latestOf(column: string): AggregateSpec {
  return {
    name: column,
    fn: 'latest',
    of: { op: 'column', name: column },
    where: null,
    windows: [],
    default: null,
    description: '',
  };
}
