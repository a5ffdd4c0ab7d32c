/**
 * The shape of a project that arrives as JSON: every field present, of its type, named by the rules, and no other field.
 * What the names refer to is `check-references.ts`.
 */
import { isZone } from '../features/time-text.ts';
import { checkGateSpecs } from '../gates/gate-spec.ts';
import { CheckedFields, specInvalid } from '../rollout/checked-fields.ts';
import { checkRolloutPolicy } from '../rollout/policy.ts';
import { checkTrainerSpec } from '../training/trainer-spec.ts';
import { checkExpression } from './check-expression.ts';
import type { ColumnType, Expression } from './expression.ts';
import { checkName, COLUMN_NAME, DATASET_COLUMNS, DEFINITION_NAME, LOG_COLUMNS, WINDOW_NAME } from './names.ts';
import { PROJECT_FORMAT } from './spec.ts';
import type {
  AggregateFunction,
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
  RequestField,
  SourceSpec,
  SpineSpec,
  SplitSpec,
  TrainingSpec,
  ViewUse,
  WindowSpec,
} from './spec.ts';

const COLUMN_TYPES: readonly ColumnType[] = ['i64', 'f64', 'bool', 'str', 'ts'];
const AGGREGATE_FUNCTIONS: readonly AggregateFunction[] = ['count', 'sum', 'mean', 'min', 'max', 'share'];
const MAX_ENTRIES = 2_000;
const MAX_DESCRIPTION_CHARS = 2_000;

export function readProjectSpec(value: unknown): ProjectSpec {
  const lists = ['sources', 'entities', 'views', 'featureSets', 'spines', 'labels', 'models'];
  const fields = new CheckedFields(value, 'project', ['format', 'name', 'description', ...lists]);
  return {
    format: fields.oneOf('format', [PROJECT_FORMAT]),
    name: checkName(fields.raw('name'), DEFINITION_NAME, 'project.name'),
    description: description(fields),
    sources: entries(fields, 'sources', readSource),
    entities: entries(fields, 'entities', readEntity),
    views: entries(fields, 'views', readView),
    featureSets: entries(fields, 'featureSets', readFeatureSet),
    spines: entries(fields, 'spines', readSpine),
    labels: entries(fields, 'labels', readLabel),
    models: entries(fields, 'models', readModel),
  };
}

function readSource(value: unknown, path: string): SourceSpec {
  const fields = new CheckedFields(value, path, [
    'name',
    'description',
    'owner',
    'columns',
    'eventAt',
    'zone',
    'availableAt',
    'eventId',
    'freshnessSlaSeconds',
  ]);
  const zone = fields.raw('zone');
  if (zone !== null && (typeof zone !== 'string' || !isZone(zone))) {
    throw specInvalid(
      fields.at('zone'),
      zone,
      'it must be an IANA zone such as Europe/Berlin, or null when every time carries its offset',
    );
  }
  return {
    name: definitionName(fields),
    description: description(fields),
    owner: fields.text('owner'),
    columns: entries(fields, 'columns', readColumn, 1),
    eventAt: fields.text('eventAt'),
    zone,
    availableAt: expression(fields, 'availableAt'),
    eventId: texts(fields, 'eventId'),
    freshnessSlaSeconds: fields.number('freshnessSlaSeconds', { min: 0, max: Infinity, exclusive: true }),
  };
}

function readColumn(value: unknown, path: string): ColumnSpec {
  const fields = new CheckedFields(value, path, ['name', 'type', 'nullable', 'min', 'max', 'pii', 'description']);
  const type = fields.oneOf('type', COLUMN_TYPES);
  const range: { min?: number; max?: number } = {};
  for (const side of ['min', 'max'] as const) {
    if (!fields.has(side)) continue;
    if (type !== 'i64' && type !== 'f64')
      throw specInvalid(fields.at(side), fields.raw(side), `only numbers have a range, this column is ${type}`);
    range[side] = fields.number(side, { min: -Number.MAX_VALUE, max: Number.MAX_VALUE });
  }
  if (range.min !== undefined && range.max !== undefined && range.min > range.max) {
    throw specInvalid(fields.at('min'), range.min, `it must not be above max, ${range.max}`);
  }
  return {
    name: checkName(fields.raw('name'), COLUMN_NAME, fields.at('name'), LOG_COLUMNS),
    type,
    nullable: fields.truth('nullable'),
    ...range,
    pii: fields.truth('pii'),
    description: description(fields),
  };
}

function readEntity(value: unknown, path: string): EntitySpec {
  const fields = new CheckedFields(value, path, ['name', 'keys', 'description']);
  return {
    name: definitionName(fields),
    keys: entries(fields, 'keys', readKeyPart, 1),
    description: description(fields),
  };
}

function readKeyPart(value: unknown, path: string): KeyPart {
  const fields = new CheckedFields(value, path, ['name', 'type']);
  return {
    name: checkName(fields.raw('name'), COLUMN_NAME, fields.at('name')),
    type: fields.oneOf('type', ['str', 'i64']),
  };
}

function readView(value: unknown, path: string): FeatureViewSpec {
  const fields = new CheckedFields(value, path, [
    'name',
    'version',
    'entity',
    'source',
    'key',
    'features',
    'owner',
    'description',
  ]);
  return {
    name: definitionName(fields),
    version: fields.count('version', 1),
    entity: fields.text('entity'),
    source: fields.text('source'),
    key: texts(fields, 'key'),
    features: entries(fields, 'features', readAggregate, 1),
    owner: fields.text('owner'),
    description: description(fields),
  };
}

function readAggregate(value: unknown, path: string): AggregateSpec {
  const fields = new CheckedFields(value, path, ['name', 'fn', 'of', 'where', 'windows', 'default', 'description']);
  const fn = fields.oneOf('fn', AGGREGATE_FUNCTIONS);
  const of = expressionOrNull(fields, 'of');
  if ((fn === 'count') !== (of === null)) {
    throw specInvalid(
      fields.at('of'),
      fields.raw('of'),
      fn === 'count' ? 'count counts rows and takes no expression: null' : `${fn} needs an expression`,
    );
  }
  return {
    name: checkName(fields.raw('name'), COLUMN_NAME, fields.at('name')),
    fn,
    of,
    where: expressionOrNull(fields, 'where'),
    windows: entries(fields, 'windows', readWindow, 1),
    default:
      fields.raw('default') === null
        ? null
        : fields.number('default', { min: -Number.MAX_VALUE, max: Number.MAX_VALUE }),
    description: description(fields),
  };
}

function readWindow(value: unknown, path: string): WindowSpec {
  const fields = new CheckedFields(value, path, ['name', 'lengthMicros', 'hopMicros']);
  const lengthMicros = fields.count('lengthMicros', 1);
  const hopMicros = fields.raw('hopMicros') === null ? null : fields.count('hopMicros', 1);
  if (hopMicros !== null && lengthMicros % hopMicros !== 0) {
    throw specInvalid(
      fields.at('hopMicros'),
      hopMicros,
      `the hop must divide the length, ${lengthMicros}, so that a window is a whole number of tiles`,
    );
  }
  return { name: checkName(fields.raw('name'), WINDOW_NAME, fields.at('name')), lengthMicros, hopMicros };
}

function readFeatureSet(value: unknown, path: string): FeatureSetSpec {
  const fields = new CheckedFields(value, path, ['name', 'version', 'request', 'views', 'features', 'description']);
  return {
    name: definitionName(fields),
    version: fields.count('version', 1),
    request: entries(fields, 'request', readRequestField),
    views: entries(fields, 'views', readViewUse),
    features: entries(fields, 'features', readFeature, 1),
    description: description(fields),
  };
}

function readRequestField(value: unknown, path: string): RequestField {
  const fields = new CheckedFields(value, path, ['name', 'type', 'description']);
  return {
    name: checkName(fields.raw('name'), COLUMN_NAME, fields.at('name'), DATASET_COLUMNS),
    type: fields.oneOf('type', COLUMN_TYPES),
    description: description(fields),
  };
}

/** `row.request` and `row.derived` are taken in typed definitions. */
const TAKEN_ALIASES: readonly string[] = ['request', 'derived'];

function readViewUse(value: unknown, path: string): ViewUse {
  const fields = new CheckedFields(value, path, ['alias', 'view', 'key']);
  return {
    alias: checkName(fields.raw('alias'), COLUMN_NAME, fields.at('alias'), TAKEN_ALIASES),
    view: fields.text('view'),
    key: texts(fields, 'key'),
  };
}

function readFeature(value: unknown, path: string): FeatureSpec {
  const kind = new CheckedFields(value, path, Object.keys(value ?? {})).oneOf('kind', ['view', 'derived']);
  if (kind === 'view') {
    const fields = new CheckedFields(value, path, ['kind', 'name', 'alias', 'feature', 'window']);
    return {
      kind,
      name: featureName(fields),
      alias: fields.text('alias'),
      feature: fields.text('feature'),
      window: fields.text('window'),
    };
  }
  const fields = new CheckedFields(value, path, ['kind', 'name', 'expression', 'description']);
  return {
    kind,
    name: featureName(fields),
    expression: expression(fields, 'expression'),
    description: description(fields),
  };
}

function featureName(fields: CheckedFields): string {
  return checkName(fields.raw('name'), COLUMN_NAME, fields.at('name'), DATASET_COLUMNS);
}

function readSpine(value: unknown, path: string): SpineSpec {
  const fields = new CheckedFields(value, path, ['name', 'source', 'asOf', 'where', 'request']);
  return {
    name: definitionName(fields),
    source: fields.text('source'),
    asOf: expression(fields, 'asOf'),
    where: expressionOrNull(fields, 'where'),
    request: entries(fields, 'request', (entry, at) => {
      const request = new CheckedFields(entry, at, ['name', 'value']);
      return {
        name: checkName(request.raw('name'), COLUMN_NAME, request.at('name'), DATASET_COLUMNS),
        value: expression(request, 'value'),
      };
    }),
  };
}

function readLabel(value: unknown, path: string): LabelSpec {
  const fields = new CheckedFields(value, path, ['name', 'source', 'of', 'description']);
  return {
    name: definitionName(fields),
    source: fields.text('source'),
    of: expression(fields, 'of'),
    description: description(fields),
  };
}

const MODEL_FIELDS = [
  'name',
  'description',
  'owner',
  'riskTier',
  'task',
  'spine',
  'label',
  'threshold',
  'latencyBudgetMsP99',
  'rule',
  'gates',
  'rollout',
  'monitors',
  'logSampleRate',
  'trainings',
];

function readModel(value: unknown, path: string): ModelSpec {
  const fields = new CheckedFields(value, path, MODEL_FIELDS);
  const rule = new CheckedFields(fields.raw('rule'), fields.at('rule'), ['featureSet', 'expression']);
  return {
    name: definitionName(fields),
    description: description(fields),
    owner: fields.text('owner'),
    riskTier: fields.oneOf('riskTier', ['low', 'medium', 'high']),
    task: fields.oneOf('task', ['binary']),
    spine: fields.text('spine'),
    label: fields.text('label'),
    threshold: fields.number('threshold', { min: 0, max: 1 }),
    latencyBudgetMsP99: fields.number('latencyBudgetMsP99', { min: 0, max: 60_000, exclusive: true }),
    rule: { featureSet: rule.text('featureSet'), expression: expression(rule, 'expression') },
    gates: checkGateSpecs(fields.raw('gates'), fields.at('gates')),
    rollout: checkRolloutPolicy(fields.raw('rollout'), fields.at('rollout')),
    monitors: entries(fields, 'monitors', readMonitor),
    logSampleRate: fields.number('logSampleRate', { min: 0, max: 1 }),
    trainings: entries(fields, 'trainings', readTraining, 1),
  };
}

function readMonitor(value: unknown, path: string): MonitorSpec {
  const fields = new CheckedFields(value, path, ['name', 'kind', 'everyMs', 'minRows', 'owner', 'runbook']);
  return {
    name: definitionName(fields),
    kind: fields.oneOf('kind', ['input-drift', 'score-drift', 'quality']),
    everyMs: fields.durationMs('everyMs', 1_000),
    minRows: fields.count('minRows', 1),
    owner: fields.text('owner'),
    runbook: fields.text('runbook'),
  };
}

function readTraining(value: unknown, path: string): TrainingSpec {
  const fields = new CheckedFields(value, path, ['name', 'featureSet', 'trainer', 'split', 'seed', 'description']);
  return {
    name: definitionName(fields),
    featureSet: fields.text('featureSet'),
    trainer: checkTrainerSpec(fields.raw('trainer'), fields.at('trainer')),
    split: readSplit(fields.raw('split'), fields.at('split')),
    seed: fields.count('seed', 0),
    description: description(fields),
  };
}

function readSplit(value: unknown, path: string): SplitSpec {
  const fields = new CheckedFields(value, path, ['trainFrom', 'testFrom', 'testTo', 'trainRows', 'testRows']);
  const [trainFrom, testFrom, testTo] = [
    instant(fields, 'trainFrom'),
    instant(fields, 'testFrom'),
    instant(fields, 'testTo'),
  ];
  if (trainFrom >= testFrom)
    throw specInvalid(fields.at('testFrom'), testFrom, `it must be after trainFrom, ${trainFrom}`);
  if (testFrom >= testTo) throw specInvalid(fields.at('testTo'), testTo, `it must be after testFrom, ${testFrom}`);
  return {
    trainFrom,
    testFrom,
    testTo,
    trainRows: rowsOrNull(fields, 'trainRows'),
    testRows: rowsOrNull(fields, 'testRows'),
  };
}

function instant(fields: CheckedFields, name: string): number {
  const value = fields.raw(name);
  if (!Number.isSafeInteger(value))
    throw specInvalid(fields.at(name), value, 'it must be an instant in whole microseconds since 1970, UTC');
  return value as number;
}

function rowsOrNull(fields: CheckedFields, name: string): number | null {
  return fields.raw(name) === null ? null : fields.count(name, 1);
}

// ---- pieces ----

function definitionName(fields: CheckedFields): string {
  return checkName(fields.raw('name'), DEFINITION_NAME, fields.at('name'));
}

function description(fields: CheckedFields): string {
  const value = fields.raw('description');
  if (typeof value !== 'string' || value.length > MAX_DESCRIPTION_CHARS) {
    throw specInvalid(
      fields.at('description'),
      value,
      `it must be a text of at most ${MAX_DESCRIPTION_CHARS} characters, empty when there is nothing to say`,
    );
  }
  return value;
}

function expression(fields: CheckedFields, name: string): Expression {
  return checkExpression(fields.raw(name), fields.at(name));
}

function expressionOrNull(fields: CheckedFields, name: string): Expression | null {
  return fields.raw(name) === null ? null : expression(fields, name);
}

function texts(fields: CheckedFields, name: string): string[] {
  const list = listOf(fields, name, 1);
  const wrong = list.findIndex((entry) => typeof entry !== 'string');
  if (wrong >= 0) throw specInvalid(`${fields.at(name)}[${wrong}]`, list[wrong], 'it must be a text');
  return list as string[];
}

/** Entries are named in messages by their `name` (or alias) where they have one: `sources.flights.columns.delay`. */
function entries<T>(fields: CheckedFields, name: string, read: (value: unknown, path: string) => T, atLeast = 0): T[] {
  const at = fields.path === 'project' ? name : fields.at(name);
  return listOf(fields, name, atLeast).map((entry, index) => read(entry, entryPath(at, entry, index)));
}

function entryPath(at: string, entry: unknown, index: number): string {
  const { name, alias, version } = (entry ?? {}) as Readonly<Record<string, unknown>>;
  const called = typeof name === 'string' ? name : alias;
  if (typeof called !== 'string' || !/^[a-z0-9_-]+$/.test(called)) return `${at}[${index}]`;
  return typeof version === 'number' ? `${at}.${called}@${version}` : `${at}.${called}`;
}

function listOf(fields: CheckedFields, name: string, atLeast: number): readonly unknown[] {
  const value = fields.raw(name);
  if (!Array.isArray(value) || value.length < atLeast || value.length > MAX_ENTRIES) {
    throw specInvalid(fields.at(name), value, `it must be a list of ${atLeast} to ${MAX_ENTRIES} entries`);
  }
  return value;
}
