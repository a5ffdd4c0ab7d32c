/**
 * A case as a project would declare it: sources, entities, views and labels of the product's own specs, and typed rows.
 * Definitions are judged by the product's rules (`domain/features/definition-rules.ts`), times by its reader.
 *
 * Columns are renamed (`k0` the first key part, `c0` the first column), since a case may name a key and a column alike.
 *
 *   identity key_event  versions of the event named by key and event time        row_id  versions of the event named by `row`
 *            append     events, each named by its sequence
 */
import {
  boundaryMismatch,
  keyTypeMismatch,
  labelWindowFault,
  nameClash,
  rateUnitFault,
  refuse,
  ttlFault,
  windowFault,
} from '../../../domain/features/definition-rules.ts';
import { checkSplitRule, type SplitRule } from '../../../domain/features/split.ts';
import type { Instant } from '../../../domain/instant.ts';
import type { Expression } from '../../../domain/project/expression.ts';
import type { AggregateSpec, FeatureViewSpec, LabelSpec, LabelWindowSpec } from '../../../domain/project/spec.ts';
import type { Datum } from '../../../features/history/fact.ts';
import type { CaseFeature, CaseLabel, CaseSource, CaseType, CaseView, PitCase } from './case-types.ts';
import { filterExpression, literalOf } from './case-filter.ts';
import { isBeyondNumbers, sourceOf, type WorldSource } from './case-sources.ts';
import { readTimeValue, readValue } from './case-values.ts';
import { malformed } from './json-fields.ts';

export type OutputShape = { readonly type: CaseType | 'int'; readonly bucket: CaseType | null };

export interface WorldOutput extends OutputShape {
  readonly name: string;
  /** Only `latest` values and labels have one. */
  readonly hasStatus: boolean;
}

export interface WorldView {
  readonly spec: FeatureViewSpec;
  readonly source: WorldSource;
  /** Spine column of each key part. */
  readonly on: readonly number[];
  /** In the order of the compiled view: features, each with its windows. */
  readonly outputs: readonly WorldOutput[];
}

export interface WorldLabel {
  readonly spec: LabelSpec & { readonly window: LabelWindowSpec };
  readonly source: WorldSource;
  readonly on: readonly number[];
  readonly censor: { readonly source: WorldSource; readonly on: readonly number[] } | null;
  readonly output: WorldOutput;
}

export interface World {
  readonly spine: {
    readonly types: readonly CaseType[];
    readonly names: readonly string[];
    readonly asOf: readonly Instant[];
    readonly rows: readonly (readonly Datum[])[];
  };
  readonly sources: readonly WorldSource[];
  readonly views: readonly WorldView[];
  readonly labels: readonly WorldLabel[];
  /** Null when there is no label. */
  readonly builtAt: Instant | null;
  readonly split: { readonly rule: SplitRule; readonly group: number | null } | null;
}

/** @throws SerinError with the case's refusal, or INPUT_INVALID when it is no case */
export function worldOf(given: PitCase): World {
  const { spine } = given;
  const columns = new Map(spine.columns.map(({ name }, i) => [name, i]));
  const asOfColumn = spineColumn(columns, spine.asOf, 'spine.as_of');
  if (spine.columns[asOfColumn]!.type !== 'ts')
    throw malformed('spine.as_of', spine.asOf, 'must be a column of type ts');
  const rows = spine.rows.map((row, r) => {
    if (row.length !== spine.columns.length)
      throw malformed(`spine.rows[${r}]`, row, `must have ${spine.columns.length} values`);
    return spine.columns.map(({ name, type }, i) => readValue(row[i], type, `spine.rows[${r}].${name}`));
  });
  const asOf = rows.map((row, r) => {
    const at = row[asOfColumn]!;
    if (at === null) throw malformed(`spine.rows[${r}].${spine.asOf}`, at, 'must be an instant');
    return at as Instant;
  });
  const late = asOf.some(isBeyondNumbers);
  const sources = new Map([...given.sources].map(([name, source]) => [name, sourceOf(source, late)]));
  const scope: Scope = { given, sources, columns };
  const views = given.views.map((view) => viewOf(view, scope));
  const labels = given.labels.map((label) => labelOf(label, scope));
  for (const view of given.views) {
    for (const label of given.labels) refuse(boundaryMismatch(view, label), given.id);
  }
  const names = [
    ...spine.columns.map(({ name }) => name),
    ...[...views.flatMap(({ outputs }) => outputs), ...labels.map(({ output }) => output)].map(({ name }) => name),
    ...(given.split === null ? [] : ['split']),
  ];
  refuse(nameClash(names), given.id);
  return {
    spine: { types: spine.columns.map(({ type }) => type), names: spine.columns.map(({ name }) => name), asOf, rows },
    sources: [...sources.values()],
    views,
    labels,
    builtAt: labels.length === 0 ? null : readTimeValue(given.builtAt, 'built_at'),
    split: splitOf(given, columns),
  };
}

interface Scope {
  readonly given: PitCase;
  readonly sources: ReadonlyMap<string, WorldSource>;
  readonly columns: ReadonlyMap<string, number>;
}

function spineColumn(columns: ReadonlyMap<string, number>, name: string, path: string): number {
  const at = columns.get(name);
  if (at === undefined)
    throw malformed(path, name, `must be a column of the spine (${[...columns.keys()].join(', ')})`);
  return at;
}

/** The source of that name, and its columns by the names that the case gives them; a column wins over a key of its name. */
function sourceIn({ given, sources }: Scope, name: string, path: string) {
  const source = sources.get(name);
  const raw = given.sources.get(name);
  if (source === undefined || raw === undefined) {
    throw malformed(path, name, `must be a source (${[...sources.keys()].join(', ')})`);
  }
  const columns = new Map<string, { readonly name: string; readonly type: CaseType }>();
  raw.key.forEach(({ name: part, type }, i) => columns.set(part, { name: `k${i}`, type }));
  raw.columns.forEach(({ name: column, type }, i) => columns.set(column, { name: `c${i}`, type }));
  return { source, raw, columns };
}

type Columns = ReturnType<typeof sourceIn>['columns'];

function columnIn(columns: Columns, name: string, path: string): { readonly name: string; readonly type: CaseType } {
  const column = columns.get(name);
  if (column === undefined)
    throw malformed(path, name, `must be a column of the source (${[...columns.keys()].join(', ')})`);
  return column;
}

/** The spine column of each key part. @throws SerinError KEY_TYPE_MISMATCH */
function joined(raw: CaseSource, on: ReadonlyMap<string, string>, { given, columns }: Scope, path: string): number[] {
  const stranger = [...on.keys()].find((part) => !raw.key.some(({ name }) => name === part));
  if (stranger !== undefined)
    throw malformed(`${path}.on.${stranger}`, stranger, `is no key part of source ${raw.name}`);
  return raw.key.map((part) => {
    const at = spineColumn(columns, on.get(part.name) ?? part.name, `${path}.on.${part.name}`);
    refuse(keyTypeMismatch(part, given.spine.columns[at]!), path);
    return at;
  });
}

function viewOf(view: CaseView, scope: Scope): WorldView {
  const { source, raw, columns } = sourceIn(scope, view.source, `${view.path}.source`);
  refuse(ttlFault(view.ttl), view.path);
  const features = view.features.map((feature) => featureOf(feature, columns));
  const spec: FeatureViewSpec = {
    name: view.name,
    version: 1,
    entity: source.entity.name,
    source: source.spec.name,
    key: source.keyColumns,
    features: features.map(({ spec: aggregate }) => aggregate),
    owner: 'conformance',
    description: '',
    ...(view.boundary === 'exclusive' ? { boundary: 'exclusive' as const } : {}),
    ...(view.ttl === null ? {} : { ttlMicros: view.ttl as number }),
  };
  const outputs = features.flatMap(({ shape }, f) => {
    const { name, fn, windows } = view.features[f]!;
    const output = { ...shape, hasStatus: fn === 'latest' };
    return fn === 'latest'
      ? [{ ...output, name: `${view.name}__${name}` }]
      : windows.map((window) => ({ ...output, name: `${view.name}__${name}__${window.name}` }));
  });
  return { spec, source, on: joined(raw, view.on, scope, view.path), outputs };
}

function featureOf(feature: CaseFeature, columns: Columns): { spec: AggregateSpec; shape: OutputShape } {
  const { name, fn, path } = feature;
  for (const { length, offset, name: window } of feature.windows)
    refuse(windowFault({ length, offset, fn }), `${path}, window ${window}`);
  if (fn === 'rate') refuse(rateUnitFault(feature.unit), path);
  const column = feature.column === null ? null : columnIn(columns, feature.column, `${path}.column`);
  const bucket = feature.bucket === null ? null : columnIn(columns, feature.bucket, `${path}.bucket`);
  const type = resultType(fn, column?.type ?? null, path);
  const fallback = readValue(feature.default, type === 'int' ? 'i64' : type, `${path}.default`);
  return {
    shape: { type, bucket: bucket?.type ?? null },
    spec: {
      name,
      fn,
      // of rate, rows alone count
      of: column === null || fn === 'rate' ? null : { op: 'column', name: column.name },
      where: filterExpression(feature.filter, (filtered, at) => columnIn(columns, filtered, at)),
      windows: feature.windows.map((window) => ({
        name: window.name,
        lengthMicros: window.length as number | null,
        hopMicros: null,
        ...(window.offset === 0 ? {} : { offsetMicros: window.offset as number }),
      })),
      default: fallback === null ? null : literalOf(fallback),
      description: '',
      ...(bucket === null ? {} : { by: { op: 'column', name: bucket.name } satisfies Expression }),
      ...(feature.nulls === 'skip' ? { nulls: 'skip' as const } : {}),
      ...(fn === 'rate' ? { unitMicros: feature.unit as number } : {}),
    },
  };
}

const NUMBERS: readonly (CaseType | null)[] = ['i64', 'f64', 'bool'];

function resultType(fn: CaseFeature['fn'] | CaseLabel['fn'], column: CaseType | null, path: string): CaseType | 'int' {
  switch (fn) {
    case 'any':
      return 'bool';
    case 'count':
    case 'count_distinct':
      return 'i64';
    case 'rate':
      return 'f64';
    case 'sum':
    case 'mean':
    case 'stddev_pop':
    case 'stddev_samp':
      if (!NUMBERS.includes(column))
        throw malformed(`${path}.column`, column, `must be of type i64, f64 or bool for ${fn}`);
      return fn === 'sum' && column !== 'f64' ? 'int' : 'f64';
    case 'min':
    case 'max':
    case 'first':
    case 'last':
    case 'latest':
      return column!;
  }
}

function labelOf(label: CaseLabel, scope: Scope): WorldLabel {
  const { source, raw, columns } = sourceIn(scope, label.source, `${label.path}.source`);
  refuse(labelWindowFault(label), label.path);
  const column = label.column === null ? null : columnIn(columns, label.column, `${label.path}.column`);
  const counted = label.fn === 'any' || label.fn === 'rate' || column === null;
  const censor =
    label.censor === null
      ? null
      : { ...label.censor, ...sourceIn(scope, label.censor.source, `${label.path}.censor.source`) };
  const request = (on: readonly number[]): string[] => on.map((at) => scope.given.spine.columns[at]!.name);
  const on = joined(raw, label.on, scope, label.path);
  const censorOn = censor === null ? [] : joined(censor.raw, censor.on, scope, `${label.path}.censor`);
  const spec: WorldLabel['spec'] = {
    name: label.name,
    source: source.spec.name,
    // rows are counted by a value that all of them have
    of: counted ? { op: 'literal', value: true, type: 'bool' } : { op: 'column', name: column.name },
    description: '',
    window: {
      fn: label.fn,
      where: filterExpression(label.filter, (name, at) => columnIn(columns, name, at)),
      key: source.keyColumns,
      on: request(on),
      boundary: label.boundary,
      gapMicros: label.gap as number,
      horizonMicros: label.horizon as number,
      delayMicros: label.delay as number,
      earlyPositive: label.earlyPositive,
      censor:
        censor === null
          ? null
          : {
              source: censor.source.spec.name,
              key: censor.source.keyColumns,
              on: request(censorOn),
              where: filterExpression(censor.filter, (name, at) => columnIn(censor.columns, name, at)),
            },
    },
  };
  return {
    spec,
    source,
    on,
    censor: censor === null ? null : { source: censor.source, on: censorOn },
    output: {
      name: label.name,
      type: resultType(label.fn, column?.type ?? null, label.path),
      bucket: null,
      hasStatus: true,
    },
  };
}

function splitOf({ split, spine }: PitCase, columns: ReadonlyMap<string, number>): World['split'] {
  if (split === null) return null;
  const rule: SplitRule = {
    testStart: readTimeValue(split.testStart, 'split.test_start'),
    testEnd: readTimeValue(split.testEnd, 'split.test_end'),
    gap: split.gap,
    horizon: split.horizon,
    delay: split.delay,
    embargo: split.embargo,
  };
  checkSplitRule(rule, 'split');
  if (split.group !== null && !spine.columns.some(({ name }) => name === split.group)) {
    throw malformed('split.group', split.group, `must be a column of the spine (${[...columns.keys()].join(', ')})`);
  }
  return { rule, group: split.group === null ? null : columns.get(split.group)! };
}
