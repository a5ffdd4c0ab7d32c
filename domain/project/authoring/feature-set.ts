/** Feature sets: the exact, ordered input of a model, and the TypeScript type of one row of it. */
import type { ColumnType } from '../expression.ts';
import { outputType } from '../output-type.ts';
import type { FeatureSetSpec, FeatureSpec, ViewUse } from '../spec.ts';
import { versioned } from '../spec.ts';
import { type Columns, type RowOf, termsOf } from './source.ts';
import {
  columnTerm,
  type Condition,
  type Instant,
  type Numeric,
  type Term,
  type TermOf,
  type ValueOf,
} from './terms.ts';
import type { FeatureView, Kind, OutputType, PickedView } from './view.ts';

type FieldKinds<R extends Columns> = { readonly [Field in keyof R]: Kind<R[Field]['type']> };

/** Any feature set that a request with fields `N` (or more precisely, at least the set's own fields) can ask for. */
export interface AnyFeatureSet<N> {
  readonly spec: FeatureSetSpec;
  readonly views: readonly FeatureView[];
  readonly needs: (request: N) => void;
}

type OutputsOf<P> = P extends PickedView<never, infer Outputs> ? Outputs : never;

type TermOfOutput<O> = O extends OutputType<infer T extends ColumnType, unknown> ? TermOf<T> : never;

type PickedTerms<Outputs> = {
  readonly [Name in keyof Outputs]: Outputs[Name] extends OutputType<unknown, unknown>
    ? TermOfOutput<Outputs[Name]>
    : { readonly [Window in keyof Outputs[Name]]: TermOfOutput<Outputs[Name][Window]> };
};

type Views = Readonly<Record<string, PickedView<never, unknown>>>;

/** What a derived feature or a rule may read: `row.request.distance`, `row.asOf`, `row.origin.delay_share['24h']`, `row.derived.hour`. */
export type FeatureTerms<R extends Columns, V extends Views, D extends string> = {
  readonly request: RowOf<R>;
  readonly asOf: Instant;
  readonly derived: { readonly [Name in D]: Numeric };
} & { readonly [Alias in keyof V]: PickedTerms<OutputsOf<V[Alias]>> };

/** Every feature of the views by its name in the set, with its value: `['origin__flights__3h', number]`. */
type NamedValues<V extends Views> = {
  [Alias in keyof V & string]: NamedInView<Alias, OutputsOf<V[Alias]>>;
}[keyof V & string];

type NamedInView<Alias extends string, Outputs> = {
  [Name in keyof Outputs & string]: Outputs[Name] extends OutputType<unknown, infer Value>
    ? [`${Alias}__${Name}`, Value]
    : {
        [Window in keyof Outputs[Name] & string]: Outputs[Name][Window] extends OutputType<unknown, infer Value>
          ? [`${Alias}__${Name}__${Window}`, Value]
          : never;
      }[keyof Outputs[Name] & string];
}[keyof Outputs & string];

type DerivedTerms = Readonly<Record<string, unknown>>;

type DerivedValue<F> = F extends { readonly of: infer Of }
  ? DerivedValue<Of>
  : F extends (row: never) => Condition
    ? boolean | null
    : F extends (row: never) => Numeric<infer T>
      ? ValueOf<T> | null
      : never;

type RowValues<V extends Views, F extends DerivedTerms> = {
  readonly [Entry in NamedValues<V> as Entry[0]]: Entry[1];
} & { readonly [Name in keyof F]: DerivedValue<F[Name]> };

/** One object type instead of an intersection, as a reader wants to see it. */
type Flat<T> = { readonly [Name in keyof T]: T[Name] };

/** `needs` is for types only: a spine serves this set when it has at least these request fields. */
export interface FeatureSet<R extends Columns, Row, Values = unknown> extends AnyFeatureSet<FieldKinds<R>> {
  readonly row: Row;
  /** Type only. */
  readonly values?: Values;
}

/**
 * One row of a feature set as a TypeScript type: every feature by its name. A count is never null, a default takes null
 * away, a latest value or a mean over a window may be null.
 *
 *     type DelayRow = FeatureRow<typeof delayFeatures>;   // { origin__delay_share__3h: number | null; … }
 */
export type FeatureRow<S extends { readonly values?: unknown }> = Flat<Exclude<S['values'], undefined>>;

/** A derived feature: its expression alone, or with what there is to say of it. */
type Derived<Row> =
  | ((row: Row) => Numeric | Condition)
  | { readonly of: (row: Row) => Numeric | Condition; readonly description: string };

function describedOf<Row>(derived: Derived<Row>): { of: (row: Row) => Numeric | Condition; description: string } {
  return typeof derived === 'function' ? { of: derived, description: '' } : derived;
}

interface FeatureSetDefinition<R extends Columns, V extends Views, D extends string, F extends DerivedTerms> {
  readonly version: number;
  readonly description: string;
  /** What the caller of a prediction sends, besides the instant. */
  readonly request: R;
  readonly views: V & { readonly [Alias in keyof V]: PickedView<FieldKinds<R>, unknown> };
  /** Computed at read time, in this order after the features of the views. */
  readonly derived?: { readonly [Name in D]: Derived<FeatureTerms<R, V, D>> } & F;
}

/** The exact, ordered input of a model: the picked features in the order written, then the derived ones. */
export function featureSet<
  const R extends Columns,
  const V extends Views,
  D extends string = never,
  F extends DerivedTerms = Readonly<Record<never, never>>,
>(name: string, definition: FeatureSetDefinition<R, V, D, F>): FeatureSet<R, FeatureTerms<R, V, D>, RowValues<V, F>> {
  const { version, description, request } = definition;
  const uses = Object.entries<PickedView<never, unknown>>(definition.views);
  const derived = Object.entries<Derived<FeatureTerms<R, V, D>>>(definition.derived ?? {});
  const picks = uses.flatMap(([alias, use]) => picksOf(alias, use));

  const row = {
    ...Object.fromEntries(uses.map(([alias, use]) => [alias, pickedTerms(alias, use)])),
    request: termsOf(request),
    asOf: columnTerm('as_of', 'ts'),
    derived: Object.fromEntries(derived.map(([derivedName]) => [derivedName, columnTerm(derivedName, 'f64')])),
  } as unknown as FeatureTerms<R, V, D>;

  return {
    row,
    views: uses.map(([, use]) => use.view),
    needs: () => undefined,
    spec: {
      name,
      version,
      description,
      request: Object.entries(request).map(([field, { type, description: about = '', pii = false }]) => ({
        name: field,
        type,
        description: about,
        ...(pii && { pii }),
      })),
      views: uses.map(([alias, use]): ViewUse => ({ alias, view: versioned(use.view.spec), key: use.key })),
      features: [
        ...picks,
        ...derived.map(([derivedName, definitionOf]) => {
          const { of, description: about } = describedOf(definitionOf);
          return { kind: 'derived' as const, name: derivedName, expression: of(row).expression, description: about };
        }),
      ],
    },
  };
}

type Pick = Extract<FeatureSpec, { readonly kind: 'view' }>;

function picksOf(alias: string, { picked }: PickedView<never, unknown>): Pick[] {
  return Object.entries(picked).flatMap(([feature, windows]): Pick[] =>
    windows === true
      ? [{ kind: 'view', name: `${alias}__${feature}`, alias, feature, window: null }]
      : windows.map((window) => ({
          kind: 'view',
          name: `${alias}__${feature}__${window}`,
          alias,
          feature,
          window,
        })),
  );
}

/** The terms of a view's picked outputs, each of the type its feature has. */
function pickedTerms(alias: string, use: PickedView<never, unknown>): Record<string, Term | Record<string, Term>> {
  const terms: Record<string, Term | Record<string, Term>> = {};
  const typeOf = (feature: string): ColumnType => termType(use.view, feature);
  for (const { name, feature, window } of picksOf(alias, use)) {
    if (window === null) terms[feature] = columnTerm(name, typeOf(feature));
    else ((terms[feature] ??= {}) as Record<string, Term>)[window] = columnTerm(name, typeOf(feature));
  }
  return terms;
}

function termType({ spec, source }: FeatureView, feature: string): ColumnType {
  const aggregate = spec.features.find(({ name }) => name === feature);
  if (aggregate === undefined) return 'f64';
  const columns = new Map(source.spec.columns.map(({ name, type }) => [name, type]));
  try {
    const type = outputType(aggregate, columns);
    return typeof type === 'string' ? type : 'f64';
  } catch (error) {
    // an expression that does not fit is refused by the project's check, which names it
    if (error instanceof TypeError || error instanceof ReferenceError) return 'f64';
    throw error;
  }
}
