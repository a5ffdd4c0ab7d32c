/** Entities, and the feature views that are computed for each of them from one source. */
import type { ColumnType } from '../expression.ts';
import type { EntitySpec, FeatureViewSpec, KeyPart } from '../spec.ts';
import type { Aggregate, LatestValue, OutputKind, ViewFeature } from './aggregates.ts';
import { type Duration, inSeconds } from './durations.ts';
import type { Columns, NamesOfType, RowOf, Source } from './source.ts';

type Keys = Readonly<Record<string, KeyPart['type']>>;

export interface Entity<K extends Keys = Keys> {
  readonly spec: EntitySpec;
  readonly keys: K;
}

/** What features are about, by a typed key. With no keys it is everything at once: its views have one value for all. */
export function entity<const K extends Keys>(
  name: string,
  { keys, description }: { readonly keys: K; readonly description: string },
): Entity<K> {
  return {
    keys,
    spec: { name, description, keys: Object.entries(keys).map(([part, type]) => ({ name: part, type })) },
  };
}

export type ViewFeatures = Readonly<Record<string, ViewFeature>>;

/** Types as far as a compiler can tell them: an expression is a number, whole or not. The check of the project is exact. */
export type Kind<T extends ColumnType> = T extends 'i64' | 'f64' ? 'number' : T;

/** What a model's input can hold: numbers, truth values and instants. Texts and lists are not picked. */
type InputKind = Exclude<OutputKind, 'str' | 'list'>;

/** The outputs of a view that a feature set reads: windows by feature, `true` for a latest value. */
type Picks<F extends ViewFeatures> = {
  readonly [Name in keyof F]?: F[Name] extends LatestValue<infer T>
    ? T extends InputKind
      ? true
      : never
    : F[Name] extends Aggregate<infer W, infer T>
      ? T extends InputKind
        ? readonly W[]
        : never
      : never;
};

/** One output, as types: what kind of term it is in an expression, and the values it can have. */
export interface OutputType<T, Value> {
  readonly kind: T;
  readonly value: Value;
}

type OutputOf<A> =
  A extends LatestValue<infer T, infer Value>
    ? OutputType<T, Value>
    : A extends Aggregate<string, infer T, infer Value>
      ? OutputType<T, Value>
      : never;

/** Picked outputs by feature and window; a latest value has no window. */
type Picked<F extends ViewFeatures, P> = {
  readonly [Name in keyof P & keyof F]: P[Name] extends readonly (infer W extends string)[]
    ? { readonly [Window in W]: OutputOf<F[Name]> }
    : OutputOf<F[Name]>;
};

/** A view as one feature set reads it. `N` is the request fields it takes its key from. */
export interface PickedView<N, Outputs> {
  readonly view: FeatureView;
  readonly key: readonly string[];
  readonly picked: Readonly<Record<string, true | readonly string[]>>;
  /** Types only. */
  readonly outputs?: Outputs;
  /** Type only: contravariant, so that a set accepts the view when its request has at least these fields. */
  readonly needs: (request: N) => void;
}

type KeyFields<K extends Keys, M> = { readonly [Part in keyof K & keyof M as M[Part] & string]: Kind<K[Part]> };

export interface FeatureView<K extends Keys = Keys, F extends ViewFeatures = ViewFeatures> {
  readonly spec: FeatureViewSpec;
  readonly source: Source;
  readonly entity: Entity;
  /** Says which request fields hold the key: `originDelays.as({ airport: 'origin' }).pick({ delay_share: ['3h'] })`. */
  as<const M extends { readonly [Part in keyof K]: string }>(
    fields: M,
  ): {
    pick<const P extends Picks<F>>(
      picked: P & { readonly [Name in Exclude<keyof P, keyof F>]: never },
    ): PickedView<KeyFields<K, M>, Picked<F, P>>;
  };
}

/** An entity without keys takes none: any property is one too many. */
type KeyColumns<C extends Columns, K extends Keys> = [keyof K] extends [never]
  ? Readonly<Record<string, never>>
  : { readonly [Part in keyof K]: NamesOfType<C, K[Part]> };

interface FeatureViewDefinition<C extends Columns, K extends Keys, F extends ViewFeatures> {
  readonly version: number;
  readonly entity: Entity<K>;
  readonly source: Source<C>;
  /** The source column of each part of the entity's key; `{}` for an entity without one. */
  readonly key: KeyColumns<C, K>;
  readonly owner?: string;
  readonly description: string;
  /** A latest value older than this, by event time, is no value any more. Left out: it never ages. */
  readonly ttl?: Duration;
  /** `exclusive`: only what was known a microsecond before counts. Left out: inclusive. */
  readonly boundary?: 'inclusive' | 'exclusive';
  /** How old its newest event may be; left out: as the source promises. */
  readonly freshnessSla?: Duration;
  readonly features: (row: RowOf<C>) => F;
}

export function featureView<C extends Columns, K extends Keys, const F extends ViewFeatures>(
  name: string,
  definition: FeatureViewDefinition<C, K, F>,
): FeatureView<K, F> {
  const { version, entity: of, source: from, key, description, ttl, boundary, freshnessSla } = definition;
  const keyColumns: Readonly<Record<string, string>> = key;
  const view: FeatureView<K, F> = {
    source: from as unknown as Source,
    entity: of,
    spec: {
      name,
      version,
      entity: of.spec.name,
      source: from.spec.name,
      key: of.spec.keys.map((part) => keyColumns[part.name] ?? ''),
      features: Object.entries<ViewFeature>(definition.features(from.row)).map(([feature, { spec }]) => ({
        name: feature,
        ...spec,
      })),
      owner: definition.owner ?? from.spec.owner,
      description,
      ...(boundary !== undefined && { boundary }),
      ...(ttl !== undefined && { ttlMicros: ttl.micros }),
      ...(freshnessSla !== undefined && { freshnessSlaSeconds: inSeconds(freshnessSla) }),
    },
    as: (fields) => ({
      pick: (picked) => ({
        view: view as unknown as FeatureView,
        key: of.spec.keys.map((part) => (fields as Readonly<Record<string, string>>)[part.name] ?? ''),
        picked: picked as unknown as Readonly<Record<string, true | readonly string[]>>,
        needs: () => undefined,
      }),
    }),
  };
  return view;
}
