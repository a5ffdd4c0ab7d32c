/**
 * What a project's author imports: `import { source, featureView, project, … } from 'serin'`. Each function takes a typed
 * definition and returns an object that later ones refer to; `project()` compiles what it can reach to the plain JSON of
 * `spec.ts`. A misspelt column, a text used as a number or a request field that the spine lacks does not compile.
 */
import type { GateSpec } from '../gates/gate-spec.ts';
import { checkRolloutPolicy } from '../rollout/policy.ts';
import type { RolloutPolicyInput } from '../rollout/policy.ts';
import {
  MICROS_PER_MINUTE,
  MICROS_PER_HOUR,
  MICROS_PER_DAY,
  MICROS_PER_SECOND,
  MICROS_PER_MILLISECOND,
  type Micros,
} from '../time.ts';
import { parseTime } from '../features/time-text.ts';
import { checkTrainerSpec } from '../training/trainer-spec.ts';
import type { TrainerSpec, TrainerSpecInput } from '../training/trainer-spec.ts';
import { columnTerm } from './authoring-expression.ts';
import type { Condition, Instant, Numeric, Term, TermOf } from './authoring-expression.ts';
import { checkProjectSpec } from './check.ts';
import { PROJECT_FORMAT, versioned } from './spec.ts';
import type {
  AggregateSpec,
  ColumnSpec,
  EntitySpec,
  FeatureSetSpec,
  FeatureSpec,
  FeatureViewSpec,
  KeyPart,
  LabelSpec,
  ModelSpec,
  MonitorSpec,
  ProjectSpec,
  SourceSpec,
  SpineSpec,
  TrainingSpec,
  ViewUse,
  WindowSpec,
} from './spec.ts';
import type { ColumnType } from './expression.ts';

export { literal } from './authoring-expression.ts';
export type { Condition, Instant, Numeric, Term, Text } from './authoring-expression.ts';
export type { GateSpec } from '../gates/gate-spec.ts';
export type { RolloutPolicyInput } from '../rollout/policy.ts';
export type { ProjectSpec } from './spec.ts';

// ---- durations ----

/** A length of time; `minutes(5)`, `hours(24)`, `days(7)`. */
export interface Duration {
  readonly micros: number;
}

export function seconds(count: number): Duration {
  return { micros: count * MICROS_PER_SECOND };
}

export function minutes(count: number): Duration {
  return { micros: count * MICROS_PER_MINUTE };
}

export function hours(count: number): Duration {
  return { micros: count * MICROS_PER_HOUR };
}

export function days(count: number): Duration {
  return { micros: count * MICROS_PER_DAY };
}

/** Milliseconds, the unit of durations in rollout policies and monitors. */
export function inMs({ micros }: Duration): number {
  return micros / MICROS_PER_MILLISECOND;
}

// ---- sources ----

interface ColumnOptions {
  readonly description?: string;
  readonly nullable?: boolean;
  /** Personal data: redacted before a prediction is logged. */
  readonly pii?: boolean;
}

interface NumberColumnOptions extends ColumnOptions {
  /** Inclusive; a row outside is quarantined. */
  readonly min?: number;
  readonly max?: number;
}

/** A column or request field before it has a name. */
export interface ColumnDefinition<T extends ColumnType = ColumnType> extends NumberColumnOptions {
  readonly type: T;
}

/** Columns of a source and fields of a request, by type: `column.f64({ min: 0 })`. Not null unless said. */
export const column = {
  i64: (options: NumberColumnOptions = {}): ColumnDefinition<'i64'> => ({ ...options, type: 'i64' }),
  f64: (options: NumberColumnOptions = {}): ColumnDefinition<'f64'> => ({ ...options, type: 'f64' }),
  bool: (options: ColumnOptions = {}): ColumnDefinition<'bool'> => ({ ...options, type: 'bool' }),
  str: (options: ColumnOptions = {}): ColumnDefinition<'str'> => ({ ...options, type: 'str' }),
  ts: (options: ColumnOptions = {}): ColumnDefinition<'ts'> => ({ ...options, type: 'ts' }),
} as const;

type Columns = Readonly<Record<string, ColumnDefinition>>;

/** One term per column. */
export type RowOf<C extends Columns> = { readonly [Name in keyof C]: TermOf<C[Name]['type']> };

type NamesOfType<C extends Columns, T extends ColumnType> = {
  [Name in keyof C & string]: C[Name]['type'] extends T ? Name : never;
}[keyof C & string];

export interface Source<C extends Columns = Columns> {
  readonly spec: SourceSpec;
  readonly row: RowOf<C>;
}

interface SourceDefinition<C extends Columns> {
  readonly description: string;
  readonly owner: string;
  readonly columns: C;
  readonly eventAt: NamesOfType<C, 'ts'>;
  /** IANA zone of times written without an offset; left out: such times are refused. */
  readonly zone?: string;
  /** When Serin could have known the event. */
  readonly availableAt: (row: RowOf<C>) => Instant;
  readonly eventId: readonly (keyof C & string)[];
  readonly freshnessSla: Duration;
}

export function source<const C extends Columns>(name: string, definition: SourceDefinition<C>): Source<C> {
  const { columns, description, owner, eventAt, zone = null, eventId, freshnessSla } = definition;
  const row = termsOf(columns);
  return {
    row,
    spec: {
      name,
      description,
      owner,
      columns: Object.entries(columns).map(([columnName, options]) => columnSpec(columnName, options)),
      eventAt,
      zone,
      availableAt: definition.availableAt(row).expression,
      eventId,
      freshnessSlaSeconds: freshnessSla.micros / MICROS_PER_SECOND,
    },
  };
}

function columnSpec(
  name: string,
  { type, nullable = false, pii = false, description = '', min, max }: ColumnDefinition,
): ColumnSpec {
  return {
    name,
    type,
    nullable,
    ...(min !== undefined && { min }),
    ...(max !== undefined && { max }),
    pii,
    description,
  };
}

function termsOf<C extends Columns>(columns: C): RowOf<C> {
  return Object.fromEntries(
    Object.entries(columns).map(([name, { type }]) => [name, columnTerm(name, type)]),
  ) as RowOf<C>;
}

// ---- entities and feature views ----

type Keys = Readonly<Record<string, KeyPart['type']>>;

export interface Entity<K extends Keys = Keys> {
  readonly spec: EntitySpec;
  readonly keys: K;
}

export function entity<const K extends Keys>(
  name: string,
  { keys, description }: { readonly keys: K; readonly description: string },
): Entity<K> {
  return {
    keys,
    spec: { name, description, keys: Object.entries(keys).map(([part, type]) => ({ name: part, type })) },
  };
}

type WindowDefinition = Omit<WindowSpec, 'name'>;

/**
 * `(t − length, t]` by event time; with a hop the start is moved down to a multiple of it, so that the state kept per key is
 * length / hop tiles instead of every event.
 */
export function window(length: Duration, { hop }: { readonly hop?: Duration } = {}): WindowDefinition {
  return { lengthMicros: length.micros, hopMicros: hop?.micros ?? null };
}

interface AggregateOptions<W extends string> {
  readonly windows: Readonly<Record<W, WindowDefinition>>;
  /** Rows for which this does not hold do not take part. */
  readonly where?: Condition;
  /** The value where the window is empty (or has only nulls). */
  readonly default?: number;
  readonly description?: string;
}

export interface Aggregate<W extends string = string> {
  readonly spec: Omit<AggregateSpec, 'name'>;
  /** Type only: the names of the windows. */
  readonly windows?: W;
}

function aggregate<W extends string>(
  fn: AggregateSpec['fn'],
  of: Term | null,
  options: AggregateOptions<W>,
): Aggregate<W> {
  const { windows, where, default: otherwise = null, description = '' } = options;
  return {
    spec: {
      fn,
      of: of?.expression ?? null,
      where: where?.expression ?? null,
      windows: Object.entries<WindowDefinition>(windows).map(([name, definition]) => ({ name, ...definition })),
      default: otherwise,
      description,
    },
  };
}

/** Number of rows; 0 in an empty window. */
export function count<W extends string>(options: AggregateOptions<W>): Aggregate<W> {
  return aggregate('count', null, options);
}

/** The part of the rows for which a condition holds. */
export function share<W extends string>(of: Condition, options: AggregateOptions<W>): Aggregate<W> {
  return aggregate('share', of, options);
}

export function sum<W extends string>(of: Numeric, options: AggregateOptions<W>): Aggregate<W> {
  return aggregate('sum', of, options);
}

export function mean<W extends string>(of: Numeric, options: AggregateOptions<W>): Aggregate<W> {
  return aggregate('mean', of, options);
}

export function min<W extends string>(of: Numeric, options: AggregateOptions<W>): Aggregate<W> {
  return aggregate('min', of, options);
}

export function max<W extends string>(of: Numeric, options: AggregateOptions<W>): Aggregate<W> {
  return aggregate('max', of, options);
}

type Aggregates = Readonly<Record<string, Aggregate>>;

type WindowsOf<A> = A extends Aggregate<infer W> ? W : never;

/** The outputs of a view that a feature set reads: windows by feature. */
type Picks<F extends Aggregates> = { readonly [Name in keyof F]?: readonly WindowsOf<F[Name]>[] };

/** A view as one feature set reads it. `N` is the request fields it takes its key from. */
export interface PickedView<N, P> {
  readonly view: FeatureView;
  readonly key: readonly string[];
  readonly picked: P;
  /** Type only: contravariant, so that a set accepts the view when its request has at least these fields. */
  readonly needs: (request: N) => void;
}

type KeyFields<K extends Keys, M> = { readonly [Part in keyof K & keyof M as M[Part] & string]: Kind<K[Part]> };

export interface FeatureView<K extends Keys = Keys, F extends Aggregates = Aggregates> {
  readonly spec: FeatureViewSpec;
  readonly source: Source;
  readonly entity: Entity;
  /** Says which request fields hold the key: `originDelays.as({ airport: 'origin' }).pick({ delay_share: ['3h'] })`. */
  as<const M extends { readonly [Part in keyof K]: string }>(
    fields: M,
  ): {
    pick<const P extends Picks<F>>(
      picked: P & { readonly [Name in Exclude<keyof P, keyof F>]: never },
    ): PickedView<KeyFields<K, M>, P>;
  };
}

interface FeatureViewDefinition<C extends Columns, K extends Keys, F extends Aggregates> {
  readonly version: number;
  readonly entity: Entity<K>;
  readonly source: Source<C>;
  /** The source column of each part of the entity's key. */
  readonly key: { readonly [Part in keyof K]: NamesOfType<C, K[Part]> };
  readonly owner?: string;
  readonly description: string;
  readonly features: (row: RowOf<C>) => F;
}

export function featureView<C extends Columns, K extends Keys, const F extends Aggregates>(
  name: string,
  definition: FeatureViewDefinition<C, K, F>,
): FeatureView<K, F> {
  const { version, entity: of, source: from, key, description } = definition;
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
      features: Object.entries<Aggregate>(definition.features(from.row)).map(([featureName, { spec }]) => ({
        name: featureName,
        ...spec,
      })),
      owner: definition.owner ?? from.spec.owner,
      description,
    },
    as: (fields) => ({
      pick: (picked) => ({
        view: view as unknown as FeatureView,
        key: of.spec.keys.map((part) => (fields as Readonly<Record<string, string>>)[part.name] ?? ''),
        picked,
        needs: () => undefined,
      }),
    }),
  };
  return view;
}

// ---- feature sets ----

/** Types as far as a compiler can tell them: an expression is a number, whole or not. The check of the project is exact. */
type Kind<T extends ColumnType> = T extends 'i64' | 'f64' ? 'number' : T;

type FieldKinds<R extends Columns> = { readonly [Field in keyof R]: Kind<R[Field]['type']> };

/** Any feature set that a request with fields `N` (or more precisely, at least the set's own fields) can ask for. */
interface AnyFeatureSet<N> {
  readonly spec: FeatureSetSpec;
  readonly views: readonly FeatureView[];
  readonly needs: (request: N) => void;
}

type PickedTerms<P> = {
  readonly [Name in keyof P]: P[Name] extends readonly (infer W extends string)[]
    ? { readonly [Window in W]: Numeric }
    : never;
};

type Views = Readonly<Record<string, PickedView<never, unknown>>>;

/** What a derived feature or a rule may read: `row.request.distance`, `row.asOf`, `row.origin.delay_share['24h']`, `row.derived.hour`. */
export type FeatureRow<R extends Columns, V extends Views, D extends string> = {
  readonly request: RowOf<R>;
  readonly asOf: Instant;
  readonly derived: { readonly [Name in D]: Numeric };
} & { readonly [Alias in keyof V]: PickedTerms<V[Alias]['picked']> };

/** `needs` is for types only: a spine serves this set when it has at least these request fields. */
export interface FeatureSet<R extends Columns, Row> extends AnyFeatureSet<FieldKinds<R>> {
  readonly row: Row;
}

interface FeatureSetDefinition<R extends Columns, V extends Views, D extends string> {
  readonly version: number;
  readonly description: string;
  /** What the caller of a prediction sends, besides the instant. */
  readonly request: R;
  readonly views: V & { readonly [Alias in keyof V]: PickedView<FieldKinds<R>, unknown> };
  /** Computed at read time, in this order after the features of the views. */
  readonly derived?: { readonly [Name in D]: (row: FeatureRow<R, V, D>) => Numeric | Condition };
}

/** The exact, ordered input of a model: the picked features in the order written, then the derived ones. */
export function featureSet<const R extends Columns, const V extends Views, D extends string = never>(
  name: string,
  definition: FeatureSetDefinition<R, V, D>,
): FeatureSet<R, FeatureRow<R, V, D>> {
  const { version, description, request } = definition;
  const uses = Object.entries<PickedView<never, unknown>>(definition.views);
  const derived = Object.entries<(row: FeatureRow<R, V, D>) => Numeric | Condition>(definition.derived ?? {});
  const viewFeatures: FeatureSpec[] = uses.flatMap(([alias, use]) =>
    picksOf(use).map(({ feature, window: windowName }) => ({
      kind: 'view' as const,
      name: featureName(alias, feature, windowName),
      alias,
      feature,
      window: windowName,
    })),
  );

  const row = {
    ...Object.fromEntries(uses.map(([alias, use]) => [alias, pickedTerms(alias, use)])),
    request: termsOf(request),
    asOf: columnTerm('as_of', 'ts'),
    derived: Object.fromEntries(derived.map(([derivedName]) => [derivedName, columnTerm(derivedName, 'f64')])),
  } as unknown as FeatureRow<R, V, D>;

  return {
    row,
    views: uses.map(([, use]) => use.view),
    needs: () => undefined,
    spec: {
      name,
      version,
      description,
      request: Object.entries(request).map(([field, { type, description: about = '' }]) => ({
        name: field,
        type,
        description: about,
      })),
      views: uses.map(([alias, use]): ViewUse => ({ alias, view: versioned(use.view.spec), key: use.key })),
      features: [
        ...viewFeatures,
        ...derived.map(([derivedName, of]) => ({
          kind: 'derived' as const,
          name: derivedName,
          expression: of(row).expression,
          description: '',
        })),
      ],
    },
  };
}

function picksOf(use: PickedView<never, unknown>): { feature: string; window: string }[] {
  const picked = use.picked as Readonly<Record<string, readonly string[]>>;
  return Object.entries(picked).flatMap(([feature, windows]) =>
    windows.map((windowName) => ({ feature, window: windowName })),
  );
}

function pickedTerms(alias: string, use: PickedView<never, unknown>): Record<string, Record<string, Numeric>> {
  const terms: Record<string, Record<string, Numeric>> = {};
  for (const { feature, window: windowName } of picksOf(use)) {
    (terms[feature] ??= {})[windowName] = columnTerm(featureName(alias, feature, windowName), 'f64');
  }
  return terms;
}

function featureName(alias: string, feature: string, windowName: string): string {
  return `${alias}__${feature}__${windowName}`;
}

// ---- spines and labels ----

type Terms = Readonly<Record<string, Term>>;

type RequestKinds<Q extends Terms> = { readonly [Field in keyof Q]: Kind<Q[Field]['type']> };

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

export interface Label {
  readonly spec: LabelSpec;
  readonly source: Source;
}

/** The outcome of the spine's own event, known from the event's `availableAt` on. */
export function label<C extends Columns>(
  name: string,
  definition: { readonly source: Source<C>; readonly of: (row: RowOf<C>) => Condition; readonly description: string },
): Label {
  const { source: from, of, description } = definition;
  return {
    source: from as unknown as Source,
    spec: { name, source: from.spec.name, of: of(from.row).expression, description },
  };
}

// ---- trainings and models ----

export interface SplitDefinition {
  /** A day such as `2001-05-01` (its start, UTC) or an instant such as `2001-05-01T06:00:00Z`. */
  readonly trainFrom: string;
  readonly testFrom: string;
  readonly testTo: string;
  /** Rows drawn by a seeded hash; left out: all. */
  readonly trainRows?: number;
  readonly testRows?: number;
}

interface TrainingDefinition<N> {
  readonly featureSet: AnyFeatureSet<N>;
  readonly trainer: TrainerSpecInput;
  readonly split: SplitDefinition;
  readonly seed: number;
  readonly description: string;
}

export interface Training<N = never> {
  readonly name: string;
  readonly definition: Omit<TrainingDefinition<N>, 'trainer'> & { readonly trainer: TrainerSpec };
}

/** One way to train a model: a feature set, a trainer, a split by time. */
export function training<N>(name: string, definition: TrainingDefinition<N>): Training<N> {
  return {
    name,
    definition: { ...definition, trainer: checkTrainerSpec(definition.trainer, `trainings.${name}.trainer`) },
  };
}

interface MonitorDefinition extends Omit<MonitorSpec, 'name' | 'everyMs'> {
  readonly every: Duration;
}

export function monitor(name: string, { every, ...rest }: MonitorDefinition): MonitorSpec {
  return { name, everyMs: inMs(every), ...rest };
}

interface ModelDefinition<Q extends Terms, Row> {
  readonly description: string;
  readonly owner: string;
  readonly riskTier: ModelSpec['riskTier'];
  readonly spine: Spine<Q>;
  readonly label: Label;
  /** Score from which an answer's label is 1. */
  readonly threshold: number;
  readonly latencyBudgetMsP99: number;
  /** The rule baseline: version 0, the first champion and the last rung of the fallback ladder. */
  readonly rule: {
    readonly featureSet: AnyFeatureSet<RequestKinds<Q>> & { readonly row: Row };
    readonly score: (row: NoInfer<Row>) => Numeric;
  };
  readonly gates: readonly GateSpec[];
  readonly rollout: RolloutPolicyInput;
  readonly monitors: readonly MonitorSpec[];
  /** Share of champion answers that are logged; canary, shadow, fallback and errors always are. */
  readonly logSampleRate: number;
  readonly trainings: readonly Training<RequestKinds<Q>>[];
}

export interface Model {
  readonly spec: ModelSpec;
  readonly spine: Pick<Spine, 'spec' | 'source'>;
  readonly label: Label;
  readonly featureSets: readonly AnyFeatureSet<never>[];
}

export function model<Q extends Terms, Row>(name: string, definition: ModelDefinition<Q, Row>): Model {
  const { spine: rows, label: outcome, rule, trainings, rollout, ...contract } = definition;
  return {
    spine: rows,
    label: outcome,
    featureSets: [rule.featureSet, ...trainings.map((each) => each.definition.featureSet)],
    spec: {
      name,
      task: 'binary',
      ...contract,
      rollout: checkRolloutPolicy(rollout, `models.${name}.rollout`),
      spine: rows.spec.name,
      label: outcome.spec.name,
      rule: { featureSet: versioned(rule.featureSet.spec), expression: rule.score(rule.featureSet.row).expression },
      trainings: trainings.map(trainingSpec),
    },
  };
}

function trainingSpec({ name, definition }: Pick<Training, 'name' | 'definition'>): TrainingSpec {
  const { featureSet: set, split, ...rest } = definition;
  const { trainFrom, testFrom, testTo, trainRows = null, testRows = null } = split;
  return {
    name,
    ...rest,
    featureSet: versioned(set.spec),
    split: { trainFrom: instant(trainFrom), testFrom: instant(testFrom), testTo: instant(testTo), trainRows, testRows },
  };
}

function instant(text: string): Micros {
  return parseTime(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00Z` : text);
}

// ---- the project ----

interface ProjectDefinition {
  readonly description: string;
  readonly models: readonly Model[];
  /** Feature sets that no model reads yet; their views, sources and entities come along. */
  readonly featureSets?: readonly AnyFeatureSet<never>[];
  /** Sources that no view reads yet. */
  readonly sources?: readonly Source[];
}

/**
 * Compiles everything the models reach.
 * @throws SerinError SPEC_INVALID, DUPLICATE_NAME, REFERENCE_MISSING, REFERENCE_CYCLE or TRAINING_INVALID
 */
export function project(
  name: string,
  { description, models, featureSets = [], sources = [] }: ProjectDefinition,
): ProjectSpec {
  const sets = distinct([...models.flatMap((each) => each.featureSets), ...featureSets]);
  const views = distinct(sets.flatMap((set) => set.views));
  const spines = distinct(models.map((each) => each.spine));
  const labels = distinct(models.map((each) => each.label));
  const everySource = distinct([...[...views, ...spines, ...labels].map((each) => each.source), ...sources]);
  return checkProjectSpec({
    format: PROJECT_FORMAT,
    name,
    description,
    sources: everySource.map(specOf),
    entities: distinct(views.map((view) => view.entity)).map(specOf),
    views: views.map(specOf),
    featureSets: sets.map(specOf),
    spines: spines.map(specOf),
    labels: labels.map(specOf),
    models: models.map(specOf),
  } satisfies ProjectSpec);
}

/** Each object once: two different ones of the same name stay, for the check to refuse. */
function distinct<T>(items: readonly T[]): T[] {
  return [...new Set(items)];
}

function specOf<T>({ spec }: { readonly spec: T }): T {
  return spec;
}
