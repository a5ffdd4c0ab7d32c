/**
 * What applying a project would change, definition by definition: nothing that is computed (metadata), what is computed from
 * now on (next use), or what was computed before as well (backfill). Whether somebody stands in the way is `plan.ts`.
 */
import { canonicalJson } from '../canonical-json.ts';
import { nameOf } from './definitions.ts';
import { type Difference, differences, differenceText, ORDER } from './differences.ts';
import { columnsOf, type Expression } from './expression.ts';
import { type FeatureViewSpec, type ProjectSpec, type SourceSpec, versioned } from './spec.ts';
import { fitsTiles } from './view-kernel.ts';

export type DefinitionKind = 'source' | 'entity' | 'view' | 'featureSet' | 'spine' | 'label' | 'model';

/**
 * `added`, `removed`; `metadata`: descriptions, owners, promises; `next-use`: holds for the next event, dataset, training or
 * rollout, what is stored stays as it is; `backfill`: what was computed is computed otherwise.
 */
export type Effect = 'added' | 'removed' | 'metadata' | 'next-use' | 'backfill';

export interface DefinitionChange {
  readonly kind: DefinitionKind;
  /** Its name; `name@version` of views and feature sets. */
  readonly id: string;
  readonly effect: Effect;
  /** A line for each field that differs: `feature mean_delay: window 3h: length 3h → 4h`. */
  readonly details: readonly string[];
}

/** @param before null: the project is new */
export function diffProjects(before: ProjectSpec | null, after: ProjectSpec): DefinitionChange[] {
  const old = before ?? EMPTY;
  return [
    ...changesOf('source', old.sources, after.sources, nameOf, sourceEffect),
    ...changesOf('entity', old.entities, after.entities, nameOf, () => 'backfill'),
    ...viewChanges(old, after),
    ...changesOf('featureSet', old.featureSets, after.featureSets, versioned, () => 'backfill'),
    ...changesOf('spine', old.spines, after.spines, nameOf, () => 'next-use'),
    ...changesOf('label', old.labels, after.labels, nameOf, () => 'next-use'),
    ...changesOf('model', old.models, after.models, nameOf, () => 'next-use'),
  ];
}

type Lists = Pick<ProjectSpec, 'sources' | 'entities' | 'views' | 'featureSets' | 'spines' | 'labels' | 'models'>;
const EMPTY: Lists = { sources: [], entities: [], views: [], featureSets: [], spines: [], labels: [], models: [] };

type FieldEffect = Exclude<Effect, 'added' | 'removed'>;

function changesOf<T>(
  kind: DefinitionKind,
  before: readonly T[],
  after: readonly T[],
  idOf: (item: T) => string,
  effectOf: (difference: Difference) => FieldEffect,
): DefinitionChange[] {
  const [old, now] = [
    new Map(before.map((item) => [idOf(item), item])),
    new Map(after.map((item) => [idOf(item), item])),
  ];
  const removed = [...old.keys()]
    .filter((id) => !now.has(id))
    .map((id): DefinitionChange => ({ kind, id, effect: 'removed', details: [] }));
  const others = [...now].flatMap(([id, item]): DefinitionChange[] => {
    const known = old.get(id);
    if (known === undefined) return [{ kind, id, effect: 'added', details: [] }];
    const found = differences(known, item);
    if (found.length === 0) return [];
    const effects = found.map((each) => (isMetadata(each) ? 'metadata' : effectOf(each)));
    return [{ kind, id, effect: worst(effects), details: found.map(differenceText) }];
  });
  return [...removed, ...others];
}

const METADATA: readonly string[] = ['description', 'owner', 'freshnessSlaSeconds', 'pii', 'runbook'];

function isMetadata({ path }: Difference): boolean {
  return METADATA.includes(path.at(-1) ?? '');
}

const BY_WEIGHT: readonly FieldEffect[] = ['metadata', 'next-use', 'backfill'];

function worst(effects: readonly FieldEffect[]): FieldEffect {
  return BY_WEIGHT.findLast((effect) => effects.includes(effect)) ?? 'metadata';
}

/** A contract that takes more rows, or other ones, holds from the next row on; the rest says what the stored rows mean. */
function sourceEffect({ path, before, after }: Difference): FieldEffect {
  const [list, , field] = path;
  if (list !== 'columns') return 'backfill';
  if (path.at(-1) === ORDER || field === 'min' || field === 'max') return 'next-use';
  if (field === undefined) return before === undefined && isNullable(after) ? 'next-use' : 'backfill';
  if (field === 'nullable') return after === true ? 'next-use' : 'backfill';
  if (field === 'type') return before === 'i64' && after === 'f64' ? 'next-use' : 'backfill';
  return 'backfill';
}

function isNullable(column: unknown): boolean {
  return (column as { readonly nullable?: boolean }).nullable === true;
}

/** A view also changes with what it reads: the meaning of its source's rows, the columns it looks at, its key. */
function viewChanges(before: Lists, after: ProjectSpec): DefinitionChange[] {
  const own = changesOf('view', before.views, after.views, versioned, () => 'backfill');
  const inherited = after.views.flatMap((view): DefinitionChange[] => {
    const known = before.views.find((each) => versioned(each) === versioned(view));
    const details = known === undefined ? [] : inheritedDetails(before, known, after, view);
    return details.length === 0 ? [] : [{ kind: 'view', id: versioned(view), effect: 'backfill', details }];
  });
  const merged = new Map(own.map((change) => [change.id, change]));
  for (const change of inherited) {
    const known = merged.get(change.id);
    merged.set(change.id, known === undefined ? change : { ...change, details: [...known.details, ...change.details] });
  }
  return [...merged.values()];
}

function inheritedDetails(before: Lists, known: FeatureViewSpec, after: ProjectSpec, view: FeatureViewSpec): string[] {
  const [old, now] = [partsRead(before, known), partsRead(after, view)];
  const [kernelBefore, kernel] = [kernelOf(before, known), kernelOf(after, view)];
  const moved = kernelBefore === kernel ? [] : [`it is kept as ${kernel} instead of ${kernelBefore}`];
  const changed = Object.keys(now).flatMap((part) => {
    const earlier = old[part];
    return earlier === undefined || canonicalJson(earlier) === canonicalJson(now[part])
      ? []
      : [`it reads ${part}, which changed`];
  });
  return [...changed, ...moved];
}

/** The range of a column may decide it: the values of the view do not depend on it, but its stored states do. */
function kernelOf(spec: Lists, view: FeatureViewSpec): 'tiles' | 'history' {
  const source = spec.sources.find(({ name }) => name === view.source);
  const entity = spec.entities.find(({ name }) => name === view.entity);
  return source !== undefined && entity !== undefined && fitsTiles(view, source, entity) ? 'tiles' : 'history';
}

/** What gives a view its values besides its own fields, by what it is called in a plan. */
function partsRead(spec: Lists, view: FeatureViewSpec): Readonly<Record<string, unknown>> {
  const source = spec.sources.find(({ name }) => name === view.source);
  const entity = spec.entities.find(({ name }) => name === view.entity);
  const columns = source === undefined ? [] : columnsRead(view, source);
  return {
    [`the key of the entity ${view.entity}`]: entity?.keys ?? null,
    [`the times and events of the source ${view.source}`]: source === undefined ? null : meaningOf(source),
    ...Object.fromEntries(
      columns.map(({ name, type, nullable }) => [`the column ${name} of ${view.source}`, { type, nullable }]),
    ),
  };
}

function meaningOf({ eventAt, availableAt, eventId, zone, revisions, operation }: SourceSpec): unknown {
  return { eventAt, availableAt, eventId, zone, revisions: revisions ?? 'none', operation: operation ?? null };
}

/** Columns of its source that the values of a view come from: its key, and what its features look at. */
export function columnsRead(view: FeatureViewSpec, source: SourceSpec): SourceSpec['columns'] {
  const names = new Set(view.key);
  for (const { of, where, by } of view.features) {
    for (const part of [of, where, by]) if (part !== null && part !== undefined) collect(part, names);
  }
  return source.columns.filter(({ name }) => names.has(name));
}

function collect(expression: Expression, into: Set<string>): void {
  for (const name of columnsOf(expression)) into.add(name);
}
