/**
 * The catalogue: every feature of a project with what a person asks before using it. All of it is derived from the
 * definitions and from who is registered; nothing is kept beside them.
 */
import { typesInSet } from './check-feature-set.ts';
import { definitionsOf, typesOf } from './definitions.ts';
import { columnsOf, type ColumnType, type Expression } from './expression.ts';
import { durationText, expressionText } from './expression-text.ts';
import { outputNames, outputType } from './output-type.ts';
import {
  type AggregateSpec,
  type FeatureSetSpec,
  type FeatureSpec,
  type FeatureViewSpec,
  type ProjectSpec,
  type SourceSpec,
  versioned,
} from './spec.ts';
import type { RegisteredVersion } from './uses.ts';

export interface LineageColumn {
  readonly source: string;
  readonly column: string;
  readonly type: ColumnType;
  readonly pii: boolean;
  /** What it is for: the value itself, which rows count, how they are grouped, whose they are, when they happened. */
  readonly roles: readonly LineageRole[];
}

export type LineageRole = 'value' | 'condition' | 'group' | 'key' | 'time';

export interface FeatureReader {
  /** `flight-delay v2` */
  readonly model: string;
  readonly version: number;
  readonly stage: string;
}

export interface CatalogueFeature {
  readonly project: string;
  /** `name@version` of the view, or of the feature set that derives it. */
  readonly definition: string;
  readonly version: number;
  readonly name: string;
  readonly kind: 'view' | 'derived';
  /** `i64`, `f64`, `bool`, `str`, `ts`, or `list<str, f64>` of pairs. */
  readonly type: string;
  /** What it computes, as a sentence would: `share of delay ≥ 15`. */
  readonly computes: string;
  /** Names of its values, one for each window: `delay_share__3h`. */
  readonly outputs: readonly string[];
  readonly windows: readonly string[];
  readonly owner: string;
  readonly description: string;
  /** Null for derived features, which are computed as they are read. */
  readonly freshnessSlaSeconds: number | null;
  readonly ttlSeconds: number | null;
  readonly boundary: 'inclusive' | 'exclusive' | null;
  readonly default: AggregateSpec['default'];
  /** Columns its value comes from, through every expression. */
  readonly lineage: readonly LineageColumn[];
  /** Fields of the request that it comes from. */
  readonly requestFields: readonly string[];
  /** Whether any of its columns holds personal data. */
  readonly pii: boolean;
  readonly readBy: {
    readonly featureSets: readonly string[];
    readonly models: readonly FeatureReader[];
  };
}

/** Features of views, then derived ones, in the order of the project. */
export function catalogueOf(spec: ProjectSpec, versions: readonly RegisteredVersion[]): CatalogueFeature[] {
  return [
    ...spec.views.flatMap((view) => view.features.map((feature) => viewFeature(spec, view, feature, versions))),
    ...spec.featureSets.flatMap((set) =>
      set.features
        .filter((feature) => feature.kind === 'derived')
        .map((feature) => derivedFeature(spec, set, feature, versions)),
    ),
  ];
}

function viewFeature(
  spec: ProjectSpec,
  view: FeatureViewSpec,
  feature: AggregateSpec,
  versions: readonly RegisteredVersion[],
): CatalogueFeature {
  const source = spec.sources.find(({ name }) => name === view.source);
  const lineage = source === undefined ? [] : lineageOf(feature, view, source);
  const id = versioned(view);
  const sets = spec.featureSets.filter((set) => readsOf(set).has(`${id}/${feature.name}`));
  return {
    project: spec.name,
    definition: id,
    version: view.version,
    name: feature.name,
    kind: 'view',
    type: source === undefined ? 'f64' : typeText(outputType(feature, typesOf(source.columns))),
    computes: computesText(feature),
    outputs: outputNames(feature),
    windows: feature.windows.map(windowText),
    owner: view.owner,
    description: feature.description === '' ? view.description : feature.description,
    freshnessSlaSeconds: view.freshnessSlaSeconds ?? source?.freshnessSlaSeconds ?? null,
    ttlSeconds: view.ttlMicros === undefined ? null : view.ttlMicros / 1_000_000,
    boundary: view.boundary ?? 'inclusive',
    default: feature.default,
    lineage,
    requestFields: [],
    pii: lineage.some(({ pii }) => pii),
    readBy: {
      featureSets: sets.map(versioned),
      models: readersOf(versions, (set) => readsOf(set).has(`${id}/${feature.name}`)),
    },
  };
}

function derivedFeature(
  spec: ProjectSpec,
  set: FeatureSetSpec,
  feature: Extract<FeatureSpec, { readonly kind: 'derived' }>,
  versions: readonly RegisteredVersion[],
): CatalogueFeature {
  const read = namesRead(set, feature.name);
  const views = set.features.filter((each) => each.kind === 'view' && read.has(each.name));
  const lineage = distinctColumns(views.flatMap((each) => (each.kind === 'view' ? lineageInSet(spec, set, each) : [])));
  const models = spec.models.filter(({ rule, trainings }) =>
    [rule.featureSet, ...trainings.map(({ featureSet }) => featureSet)].includes(versioned(set)),
  );
  return {
    project: spec.name,
    definition: versioned(set),
    version: set.version,
    name: feature.name,
    kind: 'derived',
    type: typesInSet(set, definitionsOf(spec)).get(feature.name) ?? 'f64',
    computes: expressionText(feature.expression),
    outputs: [feature.name],
    windows: [],
    owner: models[0]?.owner ?? '',
    description: feature.description === '' ? set.description : feature.description,
    freshnessSlaSeconds: null,
    ttlSeconds: null,
    boundary: null,
    default: null,
    lineage,
    requestFields: set.request.map(({ name }) => name).filter((name) => read.has(name)),
    pii: lineage.some(({ pii }) => pii) || set.request.some(({ name, pii = false }) => pii && read.has(name)),
    readBy: {
      featureSets: [versioned(set)],
      models: readersOf(versions, (of) => versioned(of) === versioned(set)),
    },
  };
}

function lineageOf({ of, where, by }: AggregateSpec, view: FeatureViewSpec, source: SourceSpec): LineageColumn[] {
  const roles: Readonly<Record<LineageRole, ReadonlySet<string>>> = {
    value: columnsIn(of),
    condition: columnsIn(where),
    group: columnsIn(by ?? null),
    key: new Set(view.key),
    time: new Set([source.eventAt]),
  };
  return source.columns.flatMap(({ name, type, pii }) => {
    const played = LINEAGE_ROLES.filter((role) => roles[role].has(name));
    return played.length === 0 ? [] : [{ source: source.name, column: name, type, pii, roles: played }];
  });
}

const LINEAGE_ROLES: readonly LineageRole[] = ['value', 'condition', 'group', 'key', 'time'];

function columnsIn(expression: Expression | null): ReadonlySet<string> {
  return expression === null ? new Set() : columnsOf(expression);
}

function lineageInSet(
  spec: ProjectSpec,
  set: FeatureSetSpec,
  feature: Extract<FeatureSpec, { readonly kind: 'view' }>,
): LineageColumn[] {
  const use = set.views.find(({ alias }) => alias === feature.alias);
  const view = spec.views.find((each) => versioned(each) === use?.view);
  const source = spec.sources.find(({ name }) => name === view?.source);
  const aggregate = view?.features.find(({ name }) => name === feature.feature);
  return view === undefined || source === undefined || aggregate === undefined
    ? []
    : lineageOf(aggregate, view, source);
}

/** Each column once, with all the roles it plays. */
function distinctColumns(columns: readonly LineageColumn[]): LineageColumn[] {
  const merged = new Map<string, LineageColumn>();
  for (const column of columns) {
    const id = `${column.source}/${column.column}`;
    const roles = new Set([...(merged.get(id)?.roles ?? []), ...column.roles]);
    merged.set(id, { ...column, roles: LINEAGE_ROLES.filter((role) => roles.has(role)) });
  }
  return [...merged.values()];
}

/** Names that a derived feature reads, also through other derived ones. */
function namesRead(set: FeatureSetSpec, name: string): Set<string> {
  const derived = new Map(set.features.map((feature) => [feature.name, feature]));
  const read = new Set<string>();
  const visit = (of: string): void => {
    const feature = derived.get(of);
    if (feature?.kind !== 'derived') return;
    for (const column of columnsOf(feature.expression)) {
      if (read.has(column)) continue;
      read.add(column);
      visit(column);
    }
  };
  visit(name);
  return read;
}

/** `view@version/feature` of all that a set picks. */
function readsOf(set: FeatureSetSpec): ReadonlySet<string> {
  const views = new Map(set.views.map(({ alias, view }) => [alias, view]));
  return new Set(
    set.features.flatMap((feature) =>
      feature.kind === 'view' ? [`${views.get(feature.alias) ?? ''}/${feature.feature}`] : [],
    ),
  );
}

function readersOf(versions: readonly RegisteredVersion[], reads: (set: FeatureSetSpec) => boolean): FeatureReader[] {
  return versions.flatMap((version) => {
    const set = version.spec.featureSets.find((each) => versioned(each) === version.featureSet);
    if (set === undefined || !reads(set)) return [];
    return [{ model: version.model, version: version.version, stage: version.stage }];
  });
}

function typeText(type: ReturnType<typeof outputType>): string {
  return typeof type === 'string' ? type : `list<${type.by}, ${type.of}>`;
}

function windowText({ name, lengthMicros, hopMicros, offsetMicros = 0 }: AggregateSpec['windows'][number]): string {
  const hop = hopMicros === null ? '' : `, hop ${durationText(hopMicros)}`;
  const offset = offsetMicros === 0 ? '' : `, ${durationText(offsetMicros)} back`;
  return `${name}: ${durationText(lengthMicros)}${hop}${offset}`;
}

function computesText({ fn, of, where, by, k, q, unitMicros }: AggregateSpec): string {
  const of_ = of === null ? '' : ` of ${expressionText(of)}`;
  const extras = [
    k === undefined ? '' : `, the first ${k}`,
    q === undefined ? '' : ` at ${q}`,
    unitMicros === undefined ? '' : ` per ${durationText(unitMicros)}`,
  ].join('');
  const rows = where === null ? '' : ` where ${expressionText(where)}`;
  const groups = by === undefined ? '' : ` by ${expressionText(by)}`;
  return `${fn}${of_}${extras}${rows}${groups}`;
}
