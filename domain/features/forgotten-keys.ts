/**
 * Where the keys of an entity lie, by what a project declares: columns of sources and fields of requests. A column that no
 * view, label or spine speaks of is nobody's key as far as Serin knows.
 */
import { SerinError } from '../errors.ts';
import type { Expression } from '../project/expression.ts';
import { type EntitySpec, type ProjectSpec, type SourceSpec, versioned } from '../project/spec.ts';
import { isTimeFault, readTime } from './time-text.ts';

/** Columns (or fields) that hold the parts of a key, in the order of the parts. */
export type KeyNames = readonly string[];

export interface KeyHolders {
  readonly entity: EntitySpec;
  /** Every source that holds keys of the entity, in one or several roles. */
  readonly sources: readonly { readonly source: SourceSpec; readonly keys: readonly KeyNames[] }[];
  /** `name@version` of the entity's views, with their source. */
  readonly views: readonly { readonly viewId: string; readonly source: string }[];
  /** Fields of requests, by feature set (`name@version`). */
  readonly featureSets: ReadonlyMap<string, readonly KeyNames[]>;
  /** Fields that a label's windows are joined on, by label. */
  readonly labels: ReadonlyMap<string, readonly KeyNames[]>;
  /** Fields of requests to a model, by any of its feature sets. */
  readonly models: ReadonlyMap<string, readonly KeyNames[]>;
}

/**
 * @param versions of one project, the newest first: what an earlier one declared may lie in logs, datasets and predictions still
 * @returns undefined when none of them has the entity
 */
export function keyHoldersOf(versions: readonly ProjectSpec[], name: string): KeyHolders | undefined {
  const entity = versions.flatMap(({ entities }) => entities).find((each) => each.name === name);
  if (entity === undefined) return undefined;
  const sources = new Names();
  const [featureSets, labels, models] = [new Names(), new Names(), new Names()];
  const views = new Map<string, string>();
  for (const project of versions) {
    for (const view of project.views) {
      if (view.entity !== name) continue;
      views.set(versioned(view), view.source);
      sources.add(view.source, view.key);
    }
    for (const set of project.featureSets)
      for (const use of set.views) if (entityOf(project, use.view) === name) featureSets.add(versioned(set), use.key);
    for (const label of project.labels) {
      const { window } = label;
      if (window === undefined) continue;
      for (const { source, key, on } of [
        { ...window, source: label.source },
        ...(window.censor ? [window.censor] : []),
      ]) {
        if (!mayAskFor(project, entity, on)) continue;
        sources.add(source, key);
        labels.add(label.name, on);
      }
    }
    for (const model of project.models) {
      const sets = [model.rule.featureSet, ...model.trainings.map(({ featureSet }) => featureSet)];
      for (const set of sets) for (const fields of featureSets.of(set)) models.add(model.name, fields);
      for (const fields of labels.of(model.label)) models.add(model.name, fields);
      // a spine's rows are made of events: their columns hold what its requests ask for
      const spine = project.spines.find((each) => each.name === model.spine);
      if (spine === undefined || spine.sql !== undefined) continue;
      for (const fields of models.of(model.name)) {
        const columns = fields.map((field) => columnOf(spine.request.find((each) => each.name === field)?.value));
        if (columns.every((column) => column !== null)) sources.add(spine.source, columns);
      }
    }
  }
  return {
    entity,
    sources: [...sources.all].map(([source, keys]) => ({ source: newest(versions, source), keys })),
    views: [...views].map(([viewId, source]) => ({ viewId, source })),
    featureSets: featureSets.all,
    labels: labels.all,
    models: models.all,
  };
}

/** Whether rows of a source may be corrected to another key: a version that is taken out must leave its mark then. */
export function mayMove({ revisions, eventId }: SourceSpec, keys: readonly KeyNames[]): boolean {
  return revisions === 'versions' && keys.some((key) => key.some((column) => !eventId.includes(column)));
}

/**
 * A key as a person names it: every part by its name. Whole numbers and truth values may be texts, instants are RFC 3339 texts.
 * @returns instants in µs  @throws INPUT_INVALID naming the part; TIME_… for an instant
 */
export function readEntityKey(
  { name: entity, keys }: EntitySpec,
  given: Readonly<Record<string, string | number | boolean>>,
): Record<string, string | number | boolean> {
  if (keys.length === 0) throw refusal(entity, 'has no key: there is nothing of it to tell apart');
  const parts = keys.map(({ name }) => name).join(', ');
  const unknown = Object.keys(given).find((name) => !keys.some((part) => part.name === name));
  if (unknown !== undefined) throw refusal(entity, `has no key part "${unknown}"; its key is ${parts}`);
  const key: Record<string, string | number | boolean> = {};
  for (const { name, type } of keys) {
    const value = given[name];
    if (value === undefined) throw refusal(entity, `needs the key part "${name}"; its key is ${parts}`);
    if (type === 'str' && typeof value === 'string') key[name] = value;
    else if (type === 'bool' && (value === true || value === 'true')) key[name] = true;
    else if (type === 'bool' && (value === false || value === 'false')) key[name] = false;
    else if (type === 'i64' && /^-?[0-9]+$/.test(String(value)) && Number.isSafeInteger(Number(value)))
      key[name] = Number(value) + 0;
    else if (type === 'ts' && typeof value === 'string') {
      const at = readTime(value, null);
      if (isTimeFault(at)) throw new SerinError(at.fault, `the key part "${name}" is "${value}": ${at.rule}`);
      key[name] = at;
    } else throw refusal(entity, `has the key part "${name}" of type ${type}, which ${JSON.stringify(value)} is not`);
  }
  return key;
}

function refusal(entity: string, what: string): SerinError {
  return new SerinError('INPUT_INVALID', `the entity "${entity}" ${what}`, { fields: { entity } });
}

/** Lists of names under a name, each list once. */
class Names {
  readonly all = new Map<string, KeyNames[]>();

  add(under: string, names: KeyNames): void {
    const lists = this.all.get(under) ?? [];
    if (!lists.some((each) => each.join('\0') === names.join('\0'))) this.all.set(under, [...lists, names]);
  }

  of(under: string): readonly KeyNames[] {
    return this.all.get(under) ?? [];
  }
}

function entityOf({ views }: ProjectSpec, viewId: string): string | undefined {
  return views.find((view) => versioned(view) === viewId)?.entity;
}

/** Label windows name no entity: it is the one that views ask for by the same fields; where none does, any of as many parts. */
function mayAskFor(project: ProjectSpec, { name, keys }: EntitySpec, on: KeyNames): boolean {
  const asked = project.featureSets
    .flatMap(({ views }) => views)
    .filter(({ key }) => key.join('\0') === on.join('\0'))
    .map(({ view }) => entityOf(project, view));
  return asked.length === 0 ? on.length === keys.length : asked.includes(name);
}

function columnOf(value: Expression | undefined): string | null {
  return value?.op === 'column' ? value.name : null;
}

function newest(versions: readonly ProjectSpec[], source: string): SourceSpec {
  return versions.flatMap(({ sources }) => sources).find(({ name }) => name === source)!;
}
