import type { SpineSpec } from '../spec.ts';
import type { Columns, RowOf, Source } from './source.ts';
import type { Condition, Instant, Term } from './terms.ts';
import type { Kind } from './view.ts';

export type Terms = Readonly<Record<string, Term>>;

export type RequestKinds<Q extends Terms> = { readonly [Field in keyof Q]: Kind<Q[Field]['type']> };

export interface Spine<Q extends Terms = Terms> {
  readonly spec: SpineSpec;
  readonly source: Source;
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
