import type { SpineSpec } from '../spec.ts';
import type { Columns, RowOf, Source } from './source.ts';
import type { Condition, Instant, Term } from './terms.ts';
import type { Kind } from './view.ts';

export type Terms = Readonly<Record<string, Term>>;

export type RequestKinds<Q extends Terms> = { readonly [Field in keyof Q]: Kind<Q[Field]['type']> };

export interface Spine<Q extends Terms = Terms> {
  readonly spec: SpineSpec;
  readonly source: Source;
  /** All that it reads. */
  readonly sources: readonly Source[];
  /** Type only. */
  readonly fields?: Q;
}

interface SpineDefinition<C extends Columns, Q extends Terms> {
  readonly source: Source<C>;
  /** The instant of the prediction. */
  readonly asOf: (row: RowOf<C>) => Instant;
  readonly where?: (row: RowOf<C>) => Condition;
  /** The request as it would have been sent. */
  readonly request: (row: RowOf<C>) => Q;
}

/** Observation rows: one per event of a source. */
export function spine<C extends Columns, Q extends Terms>(name: string, definition: SpineDefinition<C, Q>): Spine<Q> {
  const { source: from, asOf, where, request } = definition;
  return {
    source: from as unknown as Source,
    sources: [from as unknown as Source],
    spec: {
      name,
      source: from.spec.name,
      asOf: asOf(from.row).expression,
      where: where?.(from.row).expression ?? null,
      request: Object.entries<Term>(request(from.row)).map(([field, term]) => ({
        name: field,
        value: term.expression,
      })),
    },
  };
}

interface SpineQueryDefinition<R extends Columns> {
  /** The tables of the query, each under the name of its source. */
  readonly sources: readonly [Pick<Source, 'spec'>, ...Pick<Source, 'spec'>[]];
  /** The fields that the query gives, besides `as_of`. */
  readonly request: R;
  /**
   * One SELECT (DuckDB) that gives `as_of` (BIGINT, microseconds) and every request field by its name. It reads its sources
   * alone, one row per event, and calls nothing that differs from run to run.
   */
  readonly query: string;
}

/** Observation rows by a query: where one row per event is not what is asked. Its label needs a window. */
export function spineQuery<const R extends Columns>(
  name: string,
  definition: SpineQueryDefinition<R>,
): Spine<RowOf<R>> {
  const sources = definition.sources as unknown as readonly [Source, ...Source[]];
  return {
    source: sources[0],
    sources,
    spec: {
      name,
      source: sources[0].spec.name,
      asOf: { op: 'column', name: 'as_of' },
      where: null,
      request: [],
      sql: { text: definition.query, sources: sources.map(({ spec }) => spec.name) },
    },
  };
}
