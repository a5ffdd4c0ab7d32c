/** The shape of a feature view and of what it computes. */
import { rateUnitFault, refuse, ttlFault, windowFault } from '../features/definition-rules.ts';
import { CheckedFields, specInvalid } from '../rollout/checked-fields.ts';
import { checkName, COLUMN_NAME, WINDOW_NAME } from './names.ts';
import { operandTypes } from './output-type.ts';
import { definitionName, description, entries, expression, expressionOrNull, micros, texts } from './spec-fields.ts';
import type { AggregateFunction, AggregateSpec, FeatureViewSpec, WindowSpec } from './spec.ts';

const AGGREGATE_FUNCTIONS: readonly AggregateFunction[] = [
  'count',
  'sum',
  'mean',
  'min',
  'max',
  'share',
  'rate',
  'variance_pop',
  'variance_samp',
  'stddev_pop',
  'stddev_samp',
  'first',
  'last',
  'count_distinct',
  'approx_count_distinct',
  'top_k',
  'quantile',
  'latest',
];
const MAX_TOP = 1_000;
const MAX_EXACT_UP_TO = 65_536;

export function readView(value: unknown, path: string): FeatureViewSpec {
  const fields = new CheckedFields(value, path, [
    'name',
    'version',
    'entity',
    'source',
    'key',
    'features',
    'owner',
    'description',
    'boundary',
    'ttlMicros',
    'freshnessSlaSeconds',
  ]);
  const ttlMicros = fields.has('ttlMicros') ? micros(fields, 'ttlMicros') : null;
  refuse(ttlFault(ttlMicros), fields.at('ttlMicros'));
  return {
    name: definitionName(fields),
    version: fields.count('version', 1),
    entity: fields.text('entity'),
    source: fields.text('source'),
    key: texts(fields, 'key', 0),
    features: entries(fields, 'features', readAggregate, 1),
    owner: fields.text('owner'),
    description: description(fields),
    ...(fields.has('boundary') && { boundary: fields.oneOf('boundary', ['inclusive', 'exclusive']) }),
    ...(ttlMicros !== null && { ttlMicros }),
    ...(fields.has('freshnessSlaSeconds') && {
      freshnessSlaSeconds: fields.number('freshnessSlaSeconds', { min: 0, max: Infinity, exclusive: true }),
    }),
  };
}

function readAggregate(value: unknown, path: string): AggregateSpec {
  const fields = new CheckedFields(value, path, [
    'name',
    'fn',
    'of',
    'where',
    'windows',
    'default',
    'description',
    'by',
    'nulls',
    'unitMicros',
    'k',
    'q',
    'exactUpTo',
  ]);
  const fn = fields.oneOf('fn', AGGREGATE_FUNCTIONS);
  const of = expressionOrNull(fields, 'of');
  if (of === null && fn !== 'count' && fn !== 'rate')
    throw specInvalid(fields.at('of'), null, `${fn} needs an expression`);
  if (of !== null && operandTypes(fn) === null)
    throw specInvalid(fields.at('of'), fields.raw('of'), `${fn} counts rows and takes no expression: null`);
  const windows = entries(fields, 'windows', (entry, at) => readWindow(entry, at, fn), fn === 'latest' ? 0 : 1);
  if (fn === 'latest' && windows.length > 0)
    throw specInvalid(
      fields.at('windows'),
      fields.raw('windows'),
      'latest is of no window: []; the value of the newest row of a window is last',
    );
  return {
    name: checkName(fields.raw('name'), COLUMN_NAME, fields.at('name')),
    fn,
    of,
    where: expressionOrNull(fields, 'where'),
    windows,
    default: readDefault(fields),
    description: description(fields),
    ...readExtras(fields, fn),
  };
}

/** What only some functions take; anywhere else it is refused, not ignored. */
function readExtras(fields: CheckedFields, fn: AggregateFunction): Partial<AggregateSpec> {
  only(fields, 'nulls', ['first', 'last', 'latest'], fn);
  only(fields, 'unitMicros', ['rate'], fn);
  only(fields, 'k', ['top_k'], fn);
  only(fields, 'q', ['quantile'], fn);
  only(fields, 'exactUpTo', ['approx_count_distinct'], fn);
  if (fields.has('by') && (fn === 'latest' || fn === 'top_k'))
    throw specInvalid(fields.at('by'), fields.raw('by'), `${fn} is not grouped`);
  const unit = fields.has('unitMicros') ? micros(fields, 'unitMicros') : null;
  if (unit !== null) refuse(rateUnitFault(unit), fields.at('unitMicros'));
  return {
    ...(fields.has('by') && { by: expression(fields, 'by') }),
    ...(fields.has('nulls') && { nulls: fields.oneOf('nulls', ['keep', 'skip']) }),
    ...(unit !== null && { unitMicros: unit }),
    ...(fn === 'top_k' && { k: wholeUpTo(fields, 'k', MAX_TOP) }),
    ...(fn === 'quantile' && { q: fields.number('q', { min: 0, max: 1 }) }),
    ...(fields.has('exactUpTo') && { exactUpTo: wholeUpTo(fields, 'exactUpTo', MAX_EXACT_UP_TO) }),
  };
}

function only(fields: CheckedFields, name: string, takenBy: readonly AggregateFunction[], fn: AggregateFunction): void {
  if (!fields.has(name) || takenBy.includes(fn)) return;
  throw specInvalid(
    fields.at(name),
    fields.raw(name),
    `${fn} does not take it, only ${takenBy.join(', ')}; leave it out`,
  );
}

function wholeUpTo(fields: CheckedFields, name: string, most: number): number {
  const value = fields.count(name, 1);
  if (value > most) throw specInvalid(fields.at(name), value, `it must be at most ${most}`);
  return value;
}

/** Of the type of the value, which the check of references knows. */
function readDefault(fields: CheckedFields): AggregateSpec['default'] {
  const value = fields.raw('default');
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  return fields.number('default', { min: -Number.MAX_VALUE, max: Number.MAX_VALUE });
}

function readWindow(value: unknown, path: string, fn: AggregateFunction): WindowSpec {
  const fields = new CheckedFields(value, path, ['name', 'lengthMicros', 'hopMicros', 'offsetMicros']);
  const name = checkName(fields.raw('name'), WINDOW_NAME, fields.at('name'));
  const lengthMicros = fields.raw('lengthMicros') === null ? null : micros(fields, 'lengthMicros');
  const hopMicros = fields.raw('hopMicros') === null ? null : fields.count('hopMicros', 1);
  const offsetMicros = fields.has('offsetMicros') ? micros(fields, 'offsetMicros') : null;
  refuse(windowFault({ length: lengthMicros, offset: offsetMicros ?? 0, fn }), path);
  if (hopMicros !== null && (lengthMicros === null || offsetMicros !== null)) {
    throw specInvalid(
      fields.at('hopMicros'),
      hopMicros,
      `${lengthMicros === null ? 'a window over all of the past' : 'a window with an offset'} has no hop: null`,
    );
  }
  if (hopMicros !== null && lengthMicros !== null && lengthMicros % hopMicros !== 0) {
    throw specInvalid(
      fields.at('hopMicros'),
      hopMicros,
      `the hop must divide the length, ${lengthMicros}, so that a window is a whole number of tiles`,
    );
  }
  return { name, lengthMicros, hopMicros, ...(offsetMicros !== null && { offsetMicros }) };
}
