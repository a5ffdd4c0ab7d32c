/** Reads files of the schema `serin.pit/1`, strictly: what is no field of it, or has another type, is refused by its path. */
import { PIT_SCHEMA, CASE_TYPES, FILTER_OPERATORS, WINDOW_FUNCTIONS } from './case-types.ts';
import type {
  CaseColumn,
  CaseRow,
  CaseSource,
  CaseFilter,
  CaseWindow,
  CaseFeature,
  CaseView,
  CaseLabel,
  CaseSplit,
  AnswerValue,
  Expected,
  PitCase,
  UnreadableCase,
} from './case-types.ts';
import { Fields, malformed, parseJson } from './json-fields.ts';

/** @throws SerinError INPUT_INVALID when the text is no file of this schema; faults of one case are given with the case */
export function readCaseFile(text: string, path: string): (PitCase | UnreadableCase)[] {
  const file = new Fields(parseJson(text, path), '');
  if (file.raw('schema') !== PIT_SCHEMA) throw malformed('schema', file.raw('schema'), `must be "${PIT_SCHEMA}"`);
  const seen = new Set<string>();
  return file.list('cases', (value, at) => {
    const id = new Fields(value, at).text('id');
    if (seen.has(id)) throw malformed(`${at}.id`, id, 'is given to another case too');
    seen.add(id);
    try {
      return readCase(value, at);
    } catch (error) {
      return { id, unreadable: (error as Error).message };
    }
  });
}

export function readCase(value: unknown, path: string): PitCase {
  const fields = new Fields(value, path);
  const sources = fields
    .entries('sources')
    .map(([name, source]) => readSource(name, source, `${path}.sources.${name}`));
  const spine = fields.object('spine');
  const read: PitCase = {
    id: fields.text('id'),
    topic: fields.has('topic') ? fields.text('topic') : 'world',
    level: fields.oneOf('level', ['core', 'strict'], 'core'),
    name: fields.has('name') ? fields.text('name') : '',
    sources: new Map(sources.map((source) => [source.name, source])),
    spine: {
      columns: spine.list('columns', readSpineColumn),
      asOf: spine.text('as_of'),
      rows: spine.list('rows', readList),
    },
    views: fields.has('views') ? fields.list('views', readView) : [],
    labels: fields.has('labels') ? fields.list('labels', readLabel) : [],
    builtAt: fields.raw('built_at'),
    split: fields.has('split') ? readSplit(fields.object('split')) : null,
    expected: fields.has('expected') ? readExpected(fields.object('expected')) : null,
  };
  spine.done();
  fields.has('why');
  fields.done();
  return read;
}

function readSource(name: string, value: unknown, path: string): CaseSource {
  const fields = new Fields(value, path);
  const key = fields.list('key', readColumn);
  const columns = fields.list('columns', readColumn);
  const identity = fields.oneOf('identity', ['key_event', 'row_id', 'append']);
  const names = new Set(columns.map((column) => column.name));
  const seqs = new Set<number>();
  const rows = fields.list('rows', (item, at): CaseRow => {
    const row = new Fields(item, at);
    const seq = row.integer('seq');
    if (typeof seq !== 'number' || seq < 0) throw malformed(row.at('seq'), seq, 'must be a sequence number, 0 to 2^53');
    if (seqs.has(seq)) throw malformed(row.at('seq'), seq, 'is the sequence of another row too');
    seqs.add(seq);
    const values = row.list('key', (part) => part);
    if (values.length !== key.length) throw malformed(row.at('key'), values, `must have ${key.length} parts`);
    const op = row.oneOf('op', ['put', 'retract', 'tombstone'], 'put');
    const rowId = row.has('row_id') && row.raw('row_id') !== null ? row.text('row_id') : null;
    if (identity === 'row_id' && op !== 'tombstone' && rowId === null) {
      throw malformed(row.at('row_id'), rowId, 'must be text: the source is identified by it');
    }
    const v = row.has('v') && row.raw('v') !== null ? Object.fromEntries(row.entries('v')) : {};
    const stranger = Object.keys(v).find((column) => !names.has(column));
    if (stranger !== undefined)
      throw malformed(`${row.at('v')}.${stranger}`, v[stranger], 'is no column of the source');
    const read: CaseRow = {
      key: values,
      event_at: row.raw('event_at'),
      available_at: row.raw('available_at') ?? null,
      seq,
      op,
      row_id: rowId,
      v,
    };
    row.done();
    return read;
  });
  const assumeDelay =
    fields.has('assume_delay_us') && fields.raw('assume_delay_us') !== null ? fields.integer('assume_delay_us') : null;
  fields.done();
  return { name, key, columns, identity, assumeDelay, rows };
}

function readColumn(value: unknown, path: string): CaseColumn {
  const fields = new Fields(value, path);
  const column = { name: fields.text('name'), type: fields.oneOf('type', CASE_TYPES) };
  fields.done();
  return column;
}

/** A spine may carry columns of a result, `int`: decimal text too. */
function readSpineColumn(value: unknown, path: string): CaseColumn {
  const fields = new Fields(value, path);
  const type = fields.oneOf('type', [...CASE_TYPES, 'int']);
  const column: CaseColumn = { name: fields.text('name'), type: type === 'int' ? 'i64' : type };
  fields.done();
  return column;
}

function readList(value: unknown, path: string): unknown[] {
  if (!Array.isArray(value)) throw malformed(path, value, 'must be a list');
  return value;
}

function readOn(fields: Fields): Map<string, string> {
  if (!fields.has('on')) return new Map();
  return new Map(
    fields.entries('on').map(([part, column]) => {
      if (typeof column !== 'string') throw malformed(`${fields.at('on')}.${part}`, column, 'must be a spine column');
      return [part, column];
    }),
  );
}

function readFilter(fields: Fields): CaseFilter[] {
  if (!fields.has('filter') || fields.raw('filter') === null) return [];
  return fields.list('filter', (value, path) => {
    const [column, op, argument, ...rest] = readList(value, path);
    if (typeof column !== 'string') throw malformed(`${path}[0]`, column, 'must be a column');
    const operator = FILTER_OPERATORS.find((known) => known === op);
    if (operator === undefined) throw malformed(`${path}[1]`, op, `must be one of ${FILTER_OPERATORS.join(' ')}`);
    if (rest.length > 0) throw malformed(path, value, 'must be [column, operator, argument]');
    if (operator === 'in' && !Array.isArray(argument))
      throw malformed(`${path}[2]`, argument, 'must be a list for "in"');
    return { column, op: operator, argument, path };
  });
}

function durationOr(fields: Fields, name: string, absent: number): number | bigint {
  return fields.has(name) && fields.raw(name) !== null ? fields.integer(name) : absent;
}

const SECOND = 1_000_000;

function readView(value: unknown, path: string): CaseView {
  const fields = new Fields(value, path);
  const view: CaseView = {
    name: fields.text('name'),
    source: fields.text('source'),
    on: readOn(fields),
    boundary: fields.oneOf('boundary', ['inclusive', 'exclusive'], 'inclusive'),
    ttl: fields.has('ttl_us') && fields.raw('ttl_us') !== null ? fields.integer('ttl_us') : null,
    features: fields.list('features', readFeature),
    path,
  };
  fields.done();
  return view;
}

function readFeature(value: unknown, path: string): CaseFeature {
  const fields = new Fields(value, path);
  const fn = fields.oneOf('fn', [...WINDOW_FUNCTIONS, 'latest']);
  const windows = fields.has('windows')
    ? fields.list('windows', (item, at): CaseWindow => {
        const window = new Fields(item, at);
        if (!window.has('us'))
          throw malformed(window.at('us'), undefined, 'must be a length in µs, or null for all of the past');
        const read = {
          name: window.text('name'),
          length: window.raw('us') === null ? null : window.integer('us'),
          offset: durationOr(window, 'offset_us', 0),
        };
        window.done();
        return read;
      })
    : [];
  if (fn === 'latest' && windows.length > 0)
    throw malformed(fields.at('windows'), fields.raw('windows'), 'must be absent: latest has no window');
  if (fn !== 'latest' && windows.length === 0)
    throw malformed(fields.at('windows'), fields.raw('windows'), `must be there: ${fn} needs a window`);
  const feature: CaseFeature = {
    name: fields.text('name'),
    fn,
    column: columnOf(fields, fn !== 'count' && fn !== 'rate'),
    windows,
    filter: readFilter(fields),
    bucket: fields.has('bucket') && fields.raw('bucket') !== null ? fields.text('bucket') : null,
    nulls: fields.oneOf('nulls', ['keep', 'skip'], 'keep'),
    unit: durationOr(fields, 'unit_us', SECOND),
    default: fields.raw('default') ?? undefined,
    path,
  };
  if (fn === 'latest' && feature.bucket !== null)
    throw malformed(fields.at('bucket'), feature.bucket, 'must be absent: latest is of no window');
  fields.done();
  return feature;
}

function columnOf(fields: Fields, needed: boolean): string | null {
  if (!needed && (!fields.has('column') || fields.raw('column') === null)) return null;
  return fields.text('column');
}

function readLabel(value: unknown, path: string): CaseLabel {
  const fields = new Fields(value, path);
  const fn = fields.oneOf('fn', ['any', ...WINDOW_FUNCTIONS]);
  const label: CaseLabel = {
    name: fields.text('name'),
    source: fields.text('source'),
    on: readOn(fields),
    fn,
    column: columnOf(fields, fn !== 'any' && fn !== 'count' && fn !== 'rate'),
    gap: durationOr(fields, 'gap_us', 0),
    horizon: fields.integer('horizon_us'),
    delay: durationOr(fields, 'delay_us', 0),
    boundary: fields.oneOf('boundary', ['inclusive', 'exclusive'], 'inclusive'),
    filter: readFilter(fields),
    earlyPositive: fields.flag('early_positive'),
    censor: fields.has('censor') && fields.raw('censor') !== null ? readCensor(fields.object('censor')) : null,
    path,
  };
  fields.done();
  return label;
}

function readCensor(fields: Fields): NonNullable<CaseLabel['censor']> {
  const censor = { source: fields.text('source'), on: readOn(fields), filter: readFilter(fields) };
  fields.done();
  return censor;
}

function readSplit(fields: Fields): CaseSplit {
  const split: CaseSplit = {
    testStart: fields.raw('test_start'),
    testEnd: fields.raw('test_end'),
    gap: durationOr(fields, 'gap_us', 0),
    horizon: fields.integer('horizon_us'),
    delay: durationOr(fields, 'delay_us', 0),
    embargo: durationOr(fields, 'embargo_us', 0),
    group: fields.has('group') && fields.raw('group') !== null ? fields.text('group') : null,
  };
  fields.done();
  return split;
}

function readExpected(fields: Fields): Expected {
  if (fields.has('error')) return { error: fields.text('error') };
  const expected = {
    columns: fields.list('columns', (value, path) => {
      const column = new Fields(value, path);
      return { name: column.text('name'), type: column.text('type') };
    }),
    rows: fields.list('rows', (value, path) => readList(value, path) as AnswerValue[]),
    status: fields.has('status') ? (Object.fromEntries(fields.entries('status')) as Record<string, string[]>) : {},
  };
  fields.done();
  return expected;
}
