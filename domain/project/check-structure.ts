/**
 * The shape of a project that arrives as JSON: every field present, of its type, named by the rules, and no other field.
 * What the names refer to is `check-references.ts`.
 */
import { isZone } from '../features/time-text.ts';
import { CheckedFields, specInvalid } from '../rollout/checked-fields.ts';
import { readLabel, readModel } from './check-model-structure.ts';
import { readView } from './check-view-structure.ts';
import { checkName, COLUMN_NAME, DATASET_COLUMNS, DEFINITION_NAME, LOG_COLUMNS } from './names.ts';
import {
  COLUMN_TYPES,
  definitionName,
  description,
  entries,
  expression,
  expressionOrNull,
  texts,
} from './spec-fields.ts';
import { PROJECT_FORMAT } from './spec.ts';
import type {
  ColumnSpec,
  EntitySpec,
  FeatureSetSpec,
  FeatureSpec,
  KeyPart,
  OperationSpec,
  ProjectSpec,
  RequestField,
  SourceSpec,
  SpineQuerySpec,
  SpineSpec,
  ViewUse,
} from './spec.ts';

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
    'revisions',
    'operation',
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
    ...(fields.has('revisions') && { revisions: fields.oneOf('revisions', ['none', 'versions']) }),
    ...(fields.has('operation') && { operation: readOperation(fields.raw('operation'), fields.at('operation')) }),
  };
}

function readOperation(value: unknown, path: string): OperationSpec {
  const fields = new CheckedFields(value, path, ['column', 'retract', 'tombstone']);
  const word = (name: string): string | null => (fields.raw(name) === null ? null : fields.text(name));
  const [retract, tombstone] = [word('retract'), word('tombstone')];
  if (retract === null && tombstone === null)
    throw specInvalid(
      path,
      value,
      'it must say which value retracts or which is a tombstone; leave it out when none does',
    );
  if (retract === tombstone)
    throw specInvalid(fields.at('tombstone'), tombstone, 'a value cannot both retract and be a tombstone');
  return { column: fields.text('column'), retract, tombstone };
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
    keys: entries(fields, 'keys', readKeyPart),
    description: description(fields),
  };
}

function readKeyPart(value: unknown, path: string): KeyPart {
  const fields = new CheckedFields(value, path, ['name', 'type']);
  return {
    name: checkName(fields.raw('name'), COLUMN_NAME, fields.at('name')),
    type: fields.oneOf('type', ['str', 'i64', 'bool', 'ts']),
  };
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
  const fields = new CheckedFields(value, path, ['name', 'type', 'description', 'pii']);
  return {
    name: checkName(fields.raw('name'), COLUMN_NAME, fields.at('name'), DATASET_COLUMNS),
    type: fields.oneOf('type', COLUMN_TYPES),
    description: description(fields),
    ...(fields.has('pii') && { pii: fields.truth('pii') }),
  };
}

/** `row.request` and `row.derived` are taken in typed definitions. */
const TAKEN_ALIASES: readonly string[] = ['request', 'derived'];

function readViewUse(value: unknown, path: string): ViewUse {
  const fields = new CheckedFields(value, path, ['alias', 'view', 'key']);
  return {
    alias: checkName(fields.raw('alias'), COLUMN_NAME, fields.at('alias'), TAKEN_ALIASES),
    view: fields.text('view'),
    key: texts(fields, 'key', 0),
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
      window: fields.raw('window') === null ? null : fields.text('window'),
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
  const fields = new CheckedFields(value, path, ['name', 'source', 'asOf', 'where', 'request', 'sql']);
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
    ...(fields.has('sql') && { sql: readSpineQuery(fields.raw('sql'), fields.at('sql')) }),
  };
}

const MAX_QUERY_CHARS = 20_000;

function readSpineQuery(value: unknown, path: string): SpineQuerySpec {
  const fields = new CheckedFields(value, path, ['text', 'sources']);
  const text = fields.text('text');
  if (text.length > MAX_QUERY_CHARS)
    throw specInvalid(fields.at('text'), `${text.length} characters`, `a query has at most ${MAX_QUERY_CHARS}`);
  return { text, sources: texts(fields, 'sources') };
}
