/** A case answered by the oracle: rows and definitions in its terms, taken from the case and not from the product's specs. */
import { splitOracle } from './oracle-split.ts';
import type {
  Answer,
  AnswerValue,
  CaseColumn,
  CaseFeature,
  CaseFilter,
  CaseSource,
  CaseType,
  PitCase,
} from './case-types.ts';
import { readTimeValue, readValue, writeValue } from './case-values.ts';
import { aggregate, label, latest, live } from './oracle.ts';
import { compare, type OracleAggregate, type OracleRow, type Value } from './oracle-terms.ts';
import type { Datum } from '../../../features/history/fact.ts';

/** @throws for what is refused: the oracle answers sound cases alone */
export function answerByOracle(given: PitCase): Answer {
  const { spine } = given;
  const rows = spine.rows.map((row) => spine.columns.map(({ type, name }, i) => readValue(row[i], type, name)));
  const sources = new Map([...given.sources].map(([name, source]) => [name, rowsOf(source)]));
  const columnAt = (name: string): number => spine.columns.findIndex((column) => column.name === name);
  const keyOf = (source: string, on: ReadonlyMap<string, string>, row: readonly Datum[]): Datum[] =>
    given.sources.get(source)!.key.map((part) => row[columnAt(on.get(part.name) ?? part.name)]!);
  const status: Record<string, string[]> = {};
  const note = (name: string, of: string): number => (status[name] ??= []).push(of);

  const answers = rows.map((row): AnswerValue[] => {
    const t = BigInt(row[columnAt(spine.asOf)] as number | bigint);
    const cells: AnswerValue[] = row.map((value, i) => writeValue(value, spine.columns[i]!.type));
    for (const view of given.views) {
      const cut = view.boundary === 'exclusive' ? t - 1n : t;
      const { columns } = given.sources.get(view.source)!;
      const alive = live(sources.get(view.source)!, keyOf(view.source, view.on, row), cut);
      for (const feature of view.features) {
        const asked = asked_(feature, columns);
        const type = typeOf(feature.fn, feature.column, columns);
        const fallback = readValue(feature.default, type === 'int' ? 'i64' : type, 'default');
        if (feature.fn === 'latest') {
          const [value, of] = latest(alive, asked, t, view.ttl === null ? null : BigInt(view.ttl));
          note(`${view.name}__${feature.name}`, of);
          cells.push(writeValue(value ?? fallback, type));
          continue;
        }
        for (const { length, offset } of feature.windows) {
          const to = cut - BigInt(offset);
          const value = aggregate(alive.rows, asked, { from: length === null ? null : to - BigInt(length), to });
          const bucket = columns.find(({ name }) => name === feature.bucket)?.type;
          cells.push(
            Array.isArray(value)
              ? value.map(([group, of]) => [writeValue(group as Value, bucket!), writeValue(of as Datum, type)])
              : writeValue((value as Datum) ?? fallback, type),
          );
        }
      }
    }
    for (const asked of given.labels) {
      const builtAt = BigInt(readTimeValue(given.builtAt, 'built_at'));
      const { columns } = given.sources.get(asked.source)!;
      const events = live(sources.get(asked.source)!, keyOf(asked.source, asked.on, row), builtAt).rows;
      const { censor } = asked;
      const censors =
        censor === null
          ? []
          : live(sources.get(censor.source)!, keyOf(censor.source, censor.on, row), builtAt).rows.filter(({ v }) =>
              filterOf(censor.filter, given.sources.get(censor.source)!.columns)(v),
            );
      const terms = {
        ...asked_({ ...asked, bucket: null, nulls: 'keep', unit: 1_000_000 }, columns),
        gap: BigInt(asked.gap),
        horizon: BigInt(asked.horizon),
        delay: BigInt(asked.delay),
        exclusive: asked.boundary === 'exclusive',
        early: asked.earlyPositive,
        builtAt,
      };
      const [value, of] = label(events, censors, terms, t);
      note(asked.name, of);
      cells.push(writeValue(value, asked.fn === 'any' ? 'bool' : typeOf(asked.fn, asked.column, columns)));
    }
    return cells;
  });
  for (const { name, features } of given.views) {
    for (const feature of features) if (feature.fn === 'latest') status[`${name}__${feature.name}`] ??= [];
  }
  for (const { name } of given.labels) status[name] ??= [];
  if (given.split !== null) {
    const parts = splitOracle(
      given.split,
      rows,
      columnAt(spine.asOf),
      given.split.group === null ? null : columnAt(given.split.group),
    );
    answers.forEach((cells, r) => cells.push(parts[r]!));
  }
  return { rows: answers, status };
}

function rowsOf({ key, columns, identity, assumeDelay, rows }: CaseSource): OracleRow[] {
  return rows.flatMap((row): OracleRow[] => {
    const eventAt = readTimeValue(row.event_at, 'event_at');
    const delayed = assumeDelay === null ? null : BigInt(eventAt) + BigInt(assumeDelay);
    const availableAt = row.available_at === null ? delayed : readTimeValue(row.available_at, 'available_at');
    if (availableAt === null) return [];
    const parts = key.map(({ type, name }, i) => readValue(row.key[i], type, name));
    const id = {
      append: `${row.seq}`,
      row_id: `${row.row_id}`,
      key_event: [...parts.map((part) => `${typeof part} ${part}`), eventAt].join('\u0000'),
    };
    const v = Object.fromEntries(columns.map(({ name, type }) => [name, readValue(row.v[name], type, name)]));
    return [{ kind: row.op, key: parts, eventAt, availableAt, seq: row.seq, id: id[identity], v }];
  });
}

function asked_(
  {
    fn,
    column,
    filter,
    bucket,
    nulls,
    unit,
  }: Pick<CaseFeature, 'column' | 'filter' | 'bucket' | 'nulls' | 'unit'> & { fn: string },
  columns: readonly CaseColumn[],
): OracleAggregate {
  const type = columns.find(({ name }) => name === column)?.type;
  return { fn, column, whole: type !== 'f64', holds: filterOf(filter, columns), bucket, nulls, unit: BigInt(unit) };
}

/** Rule 10. */
function filterOf(filter: readonly CaseFilter[], columns: readonly CaseColumn[]): OracleAggregate['holds'] {
  const conditions = filter.map(({ column, op, argument }) => {
    const { type } = columns.find(({ name }) => name === column)!;
    const read = (value: unknown): Datum => readValue(value, type, column);
    const right = op === 'in' ? (argument as unknown[]).map(read) : [read(argument)];
    return (v: OracleRow['v']): boolean => {
      const left = v[column]!;
      if (op === 'is_null') return left === null;
      if (op === 'not_null') return left !== null;
      const orders = left === null ? [] : right.filter((value) => value !== null).map((value) => compare(left, value));
      return orders.some((order) => {
        if (op === '==' || op === 'in') return order === 0;
        if (op === '!=') return order !== 0;
        return op === '<' ? order < 0 : op === '<=' ? order <= 0 : op === '>' ? order > 0 : order >= 0;
      });
    };
  });
  return (v) => conditions.every((holds) => holds(v));
}

function typeOf(fn: string, column: string | null, columns: readonly CaseColumn[]): CaseType | 'int' {
  const type = columns.find(({ name }) => name === column)?.type ?? 'i64';
  if (fn === 'count' || fn === 'count_distinct') return 'i64';
  if (fn === 'sum') return type === 'f64' ? 'f64' : 'int';
  return fn === 'mean' || fn === 'rate' || fn.startsWith('stddev') ? 'f64' : type;
}
