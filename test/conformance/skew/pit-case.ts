/** A read and the rows behind it as a case of the schema `serin.pit/1`, ready to be added to the conformance suite. */
import { formatTime } from '../../../domain/features/time-text.ts';
import type { ColumnType, Expression } from '../../../domain/project/expression.ts';
import type {
  AggregateSpec,
  EntitySpec,
  FeatureViewSpec,
  ProjectSpec,
  SourceSpec,
  WindowSpec,
} from '../../../domain/project/spec.ts';
import type { Micros } from '../../../domain/time.ts';
import type { Datum } from '../../../features/history/fact.ts';
import type { OutputValue } from '../../../features/history/plan.ts';
import type { ReadKeys } from './definitions.ts';
import { eventIdentities } from './log.ts';
import type { ViewAnswer } from './read-log.ts';
import { keyOfRead } from './witness.ts';
import type { WorldRow } from './world.ts';

export interface CaseRequest {
  readonly project: ProjectSpec;
  readonly view: FeatureViewSpec;
  /** Rows of the view's source that were known to the read, in the order of arrival. */
  readonly rows: readonly WorldRow[];
  readonly keys: ReadKeys;
  readonly readAt: Micros;
  /** What the answer must be. */
  readonly expected: ViewAnswer;
  readonly id: string;
  readonly why: string;
}

/**
 * The schema has neither hopping windows nor `share`: a hop is the exact window it is at that instant, a share the mean of a
 * condition.
 */
export function pitCase({ project, view, rows, keys, readAt, expected, id, why }: CaseRequest): object {
  const source = project.sources.find(({ name }) => name === view.source)!;
  const entity = project.entities.find(({ name }) => name === view.entity)!;
  const columns = valueColumns(source, view);
  const outputs = outputsOf(view);
  const name = view.name;
  return {
    id,
    topic: 'skew',
    level: 'core',
    name: `what ${name} served and the log does not say`,
    why,
    sources: {
      [source.name]: {
        key: entity.keys.map(({ name: part, type }) => ({ name: part, type })),
        columns,
        identity: identityOf(view, source),
        rows: rows.map((row) => caseRow(row, view, entity, source, columns)),
      },
    },
    spine: {
      columns: [...entity.keys.map(({ name: part, type }) => ({ name: part, type })), { name: 'as_of', type: 'ts' }],
      as_of: 'as_of',
      rows: [[...keyOfRead(entity, keys).map((part, i) => caseValue(part, entity.keys[i]!.type)), formatTime(readAt)]],
    },
    views: [
      {
        name,
        source: source.name,
        boundary: view.boundary ?? 'inclusive',
        ...(view.ttlMicros === undefined ? {} : { ttl_us: view.ttlMicros }),
        features: view.features.map((feature) => caseFeature(feature, view, readAt)),
      },
    ],
    expected: {
      columns: [
        ...entity.keys.map(({ name: part, type }) => ({ name: part, type })),
        { name: 'as_of', type: 'ts' },
        ...outputs.map(({ feature, window }) => ({
          name: [name, feature.name, ...(window === null ? [] : [window.name])].join('__'),
          type: typeText(feature, source),
        })),
      ],
      rows: [
        [
          ...keyOfRead(entity, keys).map((part, i) => caseValue(part, entity.keys[i]!.type)),
          formatTime(readAt),
          ...outputs.map(({ feature }, i) => caseOutput(expected.values[i]!, feature, source)),
        ],
      ],
      status: Object.fromEntries(
        outputs.flatMap(({ feature, window }, i) =>
          window === null ? [[`${name}__${feature.name}`, [expected.statuses[i]!.toUpperCase()]]] : [],
        ),
      ),
    },
  };
}

function valueColumns(source: SourceSpec, view: FeatureViewSpec): { name: string; type: ColumnType }[] {
  const used = new Set(
    view.features.flatMap(({ of, where, by }) =>
      [of, where, by].flatMap((each) => (each === null || each === undefined ? [] : [columnName(each)])),
    ),
  );
  return source.columns.flatMap(({ name, type }) => (used.has(name) ? [{ name, type }] : []));
}

function identityOf(view: FeatureViewSpec, source: SourceSpec): 'append' | 'key_event' | 'row_id' {
  if (source.revisions !== 'versions') return 'append';
  return source.eventId.includes(source.eventAt) && view.key.every((part) => source.eventId.includes(part))
    ? 'key_event'
    : 'row_id';
}

function caseRow(
  row: WorldRow,
  view: FeatureViewSpec,
  entity: EntitySpec,
  source: SourceSpec,
  columns: readonly { readonly name: string; readonly type: ColumnType }[],
): object {
  return {
    key: view.key.map((part, i) => caseValue(row.row[part] ?? null, entity.keys[i]!.type)),
    event_at: formatTime(row.eventAt),
    available_at: formatTime(row.availableAt),
    seq: row.seq,
    ...(row.kind === 'put' ? {} : { op: row.kind }),
    ...(identityOf(view, source) === 'row_id' ? { row_id: eventIdentities(source)(row) } : {}),
    ...(row.kind === 'put'
      ? { v: Object.fromEntries(columns.map(({ name, type }) => [name, caseValue(row.row[name] ?? null, type)])) }
      : {}),
  };
}

function caseFeature(
  { name, fn, of, where, by, windows, nulls, default: fallback }: AggregateSpec,
  view: FeatureViewSpec,
  readAt: Micros,
): object {
  return {
    name,
    fn: fn === 'share' ? 'mean' : fn,
    ...(of === null ? {} : { column: columnName(of) }),
    ...(windows.length === 0 ? {} : { windows: windows.map((window) => caseWindow(window, view, readAt)) }),
    ...(where === null ? {} : { filter: [[columnName(where), '==', true]] }),
    ...(by === undefined ? {} : { bucket: columnName(by) }),
    ...(nulls === undefined ? {} : { nulls }),
    ...(fallback === null ? {} : { default: typeof fallback === 'number' ? String(fallback) : fallback }),
  };
}

function caseWindow({ name, lengthMicros, hopMicros }: WindowSpec, view: FeatureViewSpec, readAt: Micros): object {
  if (lengthMicros === null || hopMicros === null) return { name, us: lengthMicros };
  const cut = view.boundary === 'exclusive' ? readAt - 1 : readAt;
  return { name, us: cut - Math.floor((cut - lengthMicros) / hopMicros) * hopMicros };
}

interface CaseOutput {
  readonly feature: AggregateSpec;
  /** Null for `latest`. */
  readonly window: WindowSpec | null;
}

function outputsOf(view: FeatureViewSpec): CaseOutput[] {
  return view.features.flatMap((feature): CaseOutput[] =>
    feature.fn === 'latest' ? [{ feature, window: null }] : feature.windows.map((window) => ({ feature, window })),
  );
}

function scalarType({ fn, of }: AggregateSpec, source: SourceSpec): ColumnType | 'int' {
  const type = of === null ? 'i64' : source.columns.find(({ name }) => name === columnName(of))!.type;
  if (fn === 'count' || fn === 'count_distinct') return 'i64';
  if (fn === 'sum') return type === 'f64' ? 'f64' : 'int';
  return fn === 'mean' || fn === 'share' ? 'f64' : type;
}

function bucketType({ by }: AggregateSpec, source: SourceSpec): ColumnType | null {
  return by === undefined ? null : source.columns.find(({ name }) => name === columnName(by))!.type;
}

function typeText(feature: AggregateSpec, source: SourceSpec): string {
  const bucket = bucketType(feature, source);
  return bucket === null ? scalarType(feature, source) : `map<${bucket},${scalarType(feature, source)}>`;
}

function caseOutput(value: OutputValue, feature: AggregateSpec, source: SourceSpec): unknown {
  const type = scalarType(feature, source);
  if (!Array.isArray(value)) return caseValue(value as Datum, type);
  const bucket = bucketType(feature, source)!;
  return (value as readonly (readonly [Datum, Datum])[]).map(([group, of]) => [
    caseValue(group, bucket),
    caseValue(of, type),
  ]);
}

function caseValue(value: Datum, type: ColumnType | 'int'): unknown {
  if (value === null) return null;
  if (type === 'i64' || type === 'int') return String(value);
  if (type === 'f64') return Number.isFinite(value) ? (value as number) + 0 : String(value);
  return type === 'ts' ? formatTime(value as number) : value;
}

function columnName(expression: Expression): string {
  if (expression.op !== 'column') throw new TypeError('the views of the skew check read plain columns');
  return expression.name;
}
