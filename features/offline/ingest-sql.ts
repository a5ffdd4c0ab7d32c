/**
 * The row contract of a source in DuckDB SQL, over a whole file at once: the twin of `domain/features/row-contract.ts`.
 *
 * Each column becomes a stack of layers, `SELECT *, … FROM (…)` around what is below, which ends in `v<i>` (the typed value,
 * null when refused) and `f<i>` (the reason's code, null when accepted). Layers, because DuckDB does not share
 * subexpressions inside CASE.
 */
import {
  AVAILABLE_AT_RULE,
  boundsOf,
  columnsOfRemovals,
  FINITE_RULE,
  keyRule,
  MAX_VALUE_CHARS,
  rangeRule,
  type RowReasonCode,
  typeRule,
} from '../../domain/features/row-contract.ts';
import { TIME_RULES, TIME_TEXT_PATTERN } from '../../domain/features/time-text.ts';
import { quoteIdentifier, toSql } from '../../domain/project/expression.ts';
import type { ColumnSpec, SourceSpec } from '../../domain/project/spec.ts';
import { eventIdSql, PUT, RETRACT, TOMBSTONE, versionColumn, versionIdSql } from './event-id-sql.ts';
import { MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND } from '../../domain/time.ts';

/** How the file holds a column: in a typed SQL column, as CSV text, or inside a JSON object. */
export type Encoding = 'typed' | 'text' | 'json';

export interface ColumnInput {
  readonly column: ColumnSpec;
  /** SQL of the value as it came. Null when the file has no such column. */
  readonly raw: string | null;
  readonly encoding: Encoding;
  /** The SQL type of `raw`, for `typed`. */
  readonly sqlType: string;
  /** SQL that holds where the value is absent rather than null (JSON only). */
  readonly missing: string | null;
}

type Layer = readonly (readonly [alias: string, sql: string])[];

const MAX_SAFE = Number.MAX_SAFE_INTEGER;
export const REASON_TYPE = 'STRUCT(code VARCHAR, "column" VARCHAR, "value" VARCHAR, rule VARCHAR)';

/**
 * The SELECT of a checked batch: one row per input row, in its order, with the source's columns (typed; null where refused),
 * `event_at`, `available_at`, `op`, `event_id` and the `versionColumn` (both null unless accepted), `$reasons` (null
 * when accepted), `$row` (JSON text of what came, only where refused).
 * @param keys of the views over the source, as for `createRowContract`
 * @param json SQL of the whole input row where it is a JSON object; null where it has columns
 * @param rowFaults SQL conditions on the whole input row, each with its reason
 */
export function contractSql(
  source: SourceSpec,
  keys: readonly (readonly string[])[],
  relation: string,
  inputs: readonly ColumnInput[],
  json: string | null,
  rowFaults: readonly { readonly condition: string; readonly code: RowReasonCode; readonly rule: string }[],
): string {
  const needed = columnsOfRemovals(source);
  const stacks = inputs.map((input, i) => columnLayers(source, input, i, needed.has(input.column.name)));
  let sql = `SELECT ${[
    `${json ?? 'NULL'} AS j`,
    `${operationSql(source, inputs)} AS o`,
    ...rowFaults.map(({ condition }, i) => `COALESCE(${condition}, FALSE) AS b${i}`),
    ...inputs.map(({ raw, missing }, i) => `${raw ?? 'NULL'} AS r${i}, ${missing ?? 'FALSE'} AS m${i}`),
  ].join(', ')} FROM ${relation}`;
  for (let depth = 0; depth < Math.max(...stacks.map((stack) => stack.length)); depth++) {
    const columns = stacks.flatMap((stack) => stack[depth] ?? []).map(([alias, of]) => `${of} AS ${alias}`);
    sql = `SELECT *, ${columns.join(', ')} FROM (${sql})`;
  }

  const faulty = [...rowFaults.map((_, i) => `b${i}`), ...inputs.map((_, i) => `f${i} IS NOT NULL`)].join(' OR ');
  const reasons = [
    ...rowFaults.map(
      ({ code, rule }, i) => `CASE WHEN b${i} THEN ${reasonSql(`'${code}'`, null, 'NULL', literal(rule))} END`,
    ),
    ...inputs.map((input, i) => {
      const shown = `CASE WHEN length(${shownSql(input, i)}) > ${MAX_VALUE_CHARS} THEN concat(left(${shownSql(input, i)}, ${MAX_VALUE_CHARS}), '…') ELSE ${shownSql(input, i)} END`;
      return `CASE WHEN f${i} IS NOT NULL THEN ${reasonSql(`f${i}`, input.column.name, shown, ruleSql(input.column, `f${i}`))} END`;
    }),
  ];
  const rowText =
    json === null ? rowTextSql(inputs.map(({ column }, i) => [column.name, `r${i}`])) : 'CAST(j AS VARCHAR)';
  // v<i> take the source's names, over which availableAt is written
  sql = `SELECT ${[
    'o AS op',
    `(${faulty}) AS "$faulty"`,
    `CASE WHEN ${faulty} THEN list_filter([${reasons.join(', ')}], lambda reason: reason IS NOT NULL) END AS "$faults"`,
    `CASE WHEN ${faulty} THEN ${rowText} END AS "$row"`,
    ...inputs.map(({ column }, i) => `v${i} AS ${quoteIdentifier(column.name)}`),
  ].join(', ')} FROM (${sql})`;
  sql = `SELECT *, CASE WHEN NOT "$faulty" THEN TRY(CAST(${toSql(source.availableAt)} AS BIGINT)) END AS "$availableAt" FROM (${sql})`;
  const wholeKey = keys.map((key) => `(${key.map((name) => `${quoteIdentifier(name)} IS NOT NULL`).join(' AND ')})`);
  const keyless = keys.length === 0 ? 'FALSE' : `(op = ${TOMBSTONE} AND NOT (${wholeKey.join(' OR ')}))`;
  const keylessReason = reasonSql(`'VALUE_NULL'`, null, 'NULL', literal(keyRule(keys)));
  const names = inputs.map(({ column }) => quoteIdentifier(column.name));
  const available = `"$availableAt" BETWEEN -${MAX_SAFE} AND ${MAX_SAFE}`;
  const accepted = `NOT ${keyless} AND ${available}`;
  const typedRow = rowTextSql(source.columns.map(({ name }) => [name, quoteIdentifier(name)]));
  const unavailable = reasonSql(
    `'AVAILABLE_AT_NULL'`,
    null,
    'CAST("$availableAt" AS VARCHAR)',
    literal(AVAILABLE_AT_RULE),
  );
  return `SELECT ${[
    ...names,
    `${quoteIdentifier(source.eventAt)} AS event_at`,
    `"$availableAt" AS available_at`,
    'op',
    `CASE WHEN ${accepted} THEN ${eventIdSql(source)} END AS event_id`,
    ...(versionColumn(source) === 'event_id'
      ? []
      : [`CASE WHEN ${accepted} THEN ${versionIdSql(source, '"$availableAt"')} END AS ${versionColumn(source)}`]),
    `CASE WHEN "$faulty" THEN "$faults" WHEN ${keyless} THEN [${keylessReason}] WHEN ${available} THEN NULL ELSE [${unavailable}] END AS "$reasons"`,
    `CASE WHEN "$faulty" THEN "$row" WHEN ${accepted} THEN NULL ELSE ${typedRow} END AS "$row"`,
  ].join(', ')} FROM (${sql})`;
}

/** A position in `OPERATIONS`, from the operation column as it came. */
function operationSql({ operation }: SourceSpec, inputs: readonly ColumnInput[]): string {
  const input = inputs.find(({ column }) => column.name === operation?.column);
  if (operation === undefined || input === undefined || input.raw === null) return `CAST(${PUT} AS UTINYINT)`;
  const text = input.encoding === 'json' ? `json_extract_string(${input.raw}, '$')` : `CAST(${input.raw} AS VARCHAR)`;
  const isText = input.encoding === 'json' ? `json_type(${input.raw}) = 'VARCHAR' AND ` : '';
  const cases = [
    [operation.retract, RETRACT],
    [operation.tombstone, TOMBSTONE],
  ] as const;
  const when = cases.flatMap(([value, op]) =>
    value === null ? [] : [`WHEN ${isText}${text} = ${literal(value)} THEN ${op}`],
  );
  return when.length === 0 ? `CAST(${PUT} AS UTINYINT)` : `CAST(CASE ${when.join(' ')} ELSE ${PUT} END AS UTINYINT)`;
}

/** JSON text of a row, every value as SQL writes it (so that NaN and infinities survive). */
export function rowTextSql(columns: readonly (readonly [name: string, sql: string])[]): string {
  return `CAST(to_json({${columns.map(([name, sql]) => `${literal(name)}: CAST(${sql} AS VARCHAR)`).join(', ')}}) AS VARCHAR)`;
}

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function reasonSql(code: string, column: string | null, value: string, rule: string): string {
  return `CAST({code: ${code}, "column": ${column === null ? 'NULL' : literal(column)}, "value": ${value}, rule: ${rule}} AS ${REASON_TYPE})`;
}

function shownSql({ encoding }: ColumnInput, i: number): string {
  return encoding === 'json' ? `json_extract_string(r${i}, '$')` : `CAST(r${i} AS VARCHAR)`;
}

function ruleSql(column: ColumnSpec, code: string): string {
  const rules: Partial<Record<RowReasonCode, string>> = {
    VALUE_MISSING: 'a value is required',
    VALUE_NULL: 'a value is required',
    COLUMN_TYPE: typeRule(column),
    VALUE_RANGE: rangeRule(column),
    VALUE_NOT_FINITE: FINITE_RULE,
    ...TIME_RULES,
  };
  return `CASE ${code} ${Object.entries(rules)
    .map(([name, rule]) => `WHEN '${name}' THEN ${literal(rule)}`)
    .join(' ')} END`;
}

function columnLayers(source: SourceSpec, input: ColumnInput, i: number, neededByRemovals: boolean): Layer[] {
  const { column } = input;
  const required = !column.nullable || column.name === source.eventAt;
  const layers =
    input.raw === null
      ? [
          [
            [`x${i}`, 'NULL'],
            [`e${i}`, 'CAST(NULL AS VARCHAR)'],
          ] as Layer,
        ]
      : valueLayers(source, input, i);
  const mayLack = neededByRemovals ? '' : `WHEN o <> ${PUT} THEN NULL `;
  const absent = required ? `CASE ${mayLack}WHEN m${i} THEN 'VALUE_MISSING' ELSE 'VALUE_NULL' END` : 'NULL';
  const isNull = input.encoding === 'json' ? `(r${i} IS NULL OR json_type(r${i}) = 'NULL')` : `r${i} IS NULL`;
  return [
    ...layers,
    [[`f${i}`, `CASE WHEN ${isNull} THEN ${absent} ELSE e${i} END`]],
    [[`v${i}`, `CASE WHEN f${i} IS NULL THEN CAST(x${i} AS ${SQL_TYPES[column.type]}) END`]],
  ];
}

export const SQL_TYPES = { i64: 'BIGINT', f64: 'DOUBLE', bool: 'BOOLEAN', str: 'VARCHAR', ts: 'BIGINT' } as const;

/** Layers that end in `x<i>` (the value) and `e<i>` (its fault), for values that are not null. */
function valueLayers(source: SourceSpec, { column, encoding, sqlType }: ColumnInput, i: number): Layer[] {
  const raw = `r${i}`;
  const text = encoding === 'json' ? `json_extract_string(${raw}, '$')` : raw;
  const isJson = (...types: string[]): string =>
    encoding === 'json' ? `json_type(${raw}) IN (${types.map((type) => `'${type}'`).join(', ')})` : 'TRUE';
  switch (column.type) {
    case 'i64':
    case 'f64': {
      const whole = column.type === 'i64';
      const shape =
        encoding === 'text'
          ? `regexp_full_match(${raw}, '${whole ? INTEGER_TEXT : NUMBER_TEXT}')`
          : isJson(...JSON_NUMBERS);
      const { min, max } = boundsOf(column);
      const bounds = [
        ...(Number.isFinite(min) ? [`d${i} < CAST(${min} AS DOUBLE)`] : []),
        ...(Number.isFinite(max) ? [`d${i} > CAST(${max} AS DOUBLE)`] : []),
      ];
      const number = encoding === 'typed' ? `CAST(${raw} AS DOUBLE)` : `TRY_CAST(${text} AS DOUBLE)`;
      // text with too many digits overflows to null: a number all the same, and out of any range
      const overflow = whole ? 'VALUE_RANGE' : 'VALUE_NOT_FINITE';
      return [
        [
          [`s${i}`, shape],
          [`d${i}`, number],
        ],
        [
          [
            `e${i}`,
            `CASE WHEN NOT s${i} THEN 'COLUMN_TYPE' WHEN d${i} IS NULL THEN '${overflow}' WHEN NOT isfinite(d${i}) THEN '${whole && encoding === 'text' ? overflow : 'VALUE_NOT_FINITE'}' ${
              whole && encoding === 'json' ? `WHEN trunc(d${i}) <> d${i} THEN 'COLUMN_TYPE'` : ''
            } ${bounds.length > 0 ? `WHEN ${bounds.join(' OR ')} THEN 'VALUE_RANGE'` : ''} END`,
          ],
          [
            `x${i}`,
            whole && encoding !== 'json'
              ? `TRY_CAST(${raw} AS BIGINT)`
              : whole
                ? `TRY_CAST(d${i} AS BIGINT)`
                : `CASE WHEN d${i} = 0 THEN CAST(0 AS DOUBLE) ELSE d${i} END`,
          ],
        ],
      ];
    }
    case 'bool': {
      const shape = encoding === 'text' ? `${raw} IN ('true', 'false')` : isJson('BOOLEAN');
      return [
        [
          [`e${i}`, `CASE WHEN NOT (${shape}) THEN 'COLUMN_TYPE' END`],
          [`x${i}`, encoding === 'typed' ? raw : `${text} = 'true'`],
        ],
      ];
    }
    case 'str':
      return [
        [[`x${i}`, `CAST(${text} AS VARCHAR)`]],
        [[`e${i}`, `CASE WHEN NOT (${isJson('VARCHAR')}) OR contains(x${i}, chr(0)) THEN 'COLUMN_TYPE' END`]],
      ];
    case 'ts':
      if (encoding === 'typed' && sqlType !== 'VARCHAR') return timestampLayers(sqlType, source.zone, i);
      return textTimeLayers(text, `NOT (${isJson('VARCHAR')})`, source.zone, i);
  }
}

const INTEGER_TEXT = '-?[0-9]+';
const NUMBER_TEXT = '-?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|NaN|inf|Infinity)';
const JSON_NUMBERS = ['BIGINT', 'UBIGINT', 'HUGEINT', 'UHUGEINT', 'DOUBLE'];

/** SQL types of a file's column that hold a value of each of our types. */
export function acceptsSqlType(type: ColumnSpec['type'], sqlType: string): boolean {
  const integer = /^U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)$/;
  switch (type) {
    case 'i64':
      return integer.test(sqlType);
    case 'f64':
      return integer.test(sqlType) || sqlType === 'DOUBLE' || sqlType === 'FLOAT' || sqlType.startsWith('DECIMAL(');
    case 'bool':
      return sqlType === 'BOOLEAN';
    case 'str':
      return sqlType === 'VARCHAR' || sqlType.startsWith('ENUM(');
    case 'ts':
      return sqlType === 'VARCHAR' || sqlType === 'TIMESTAMP WITH TIME ZONE' || isWallClock(sqlType);
  }
}

/** A SQL timestamp without a zone: a wall clock, which only a declared zone makes an instant. */
export function isWallClock(sqlType: string): boolean {
  return /^TIMESTAMP(_S|_MS|_NS)?$/.test(sqlType);
}

function timestampLayers(sqlType: string, zone: string | null, i: number): Layer[] {
  const at: Layer = [
    [`w${i}`, `CASE WHEN isfinite(r${i}) THEN epoch_us(r${i}) END`],
    [`p${i}`, sqlType === 'TIMESTAMP_NS' ? `(NOT isfinite(r${i}) OR epoch_ns(r${i}) % 1000 = 0)` : 'TRUE'],
  ];
  return [at, ...wallClockLayers(isWallClock(sqlType) ? zone : 'UTC', 'TRUE', '0', 'FALSE', 'FALSE', i)];
}

function textTimeLayers(text: string, wrongType: string, zone: string | null, i: number): Layer[] {
  const part = (start: number): string => `CAST(substr(t${i}, ${start}, 2) AS BIGINT)`;
  const offsetMinutes = `(CAST(substr(o${i}, 2, 2) AS BIGINT) * 60 + CAST(substr(o${i}, 5, 2) AS BIGINT))`;
  return [
    [[`t${i}`, `CASE WHEN regexp_matches(${text}, ${literal(TIME_TEXT_PATTERN)}) THEN ${text} END`]],
    [
      [`y${i}`, `CASE WHEN left(t${i}, 4) <> '0000' THEN TRY_CAST(left(t${i}, 10) AS DATE) - DATE '1970-01-01' END`],
      [`c${i}`, `regexp_extract(t${i}, '[.]([0-9]+)', 1)`],
      [`o${i}`, `regexp_extract(t${i}, '([Zz]|[+-][0-9]{2}:[0-9]{2})$', 1)`],
    ],
    [
      [
        `w${i}`,
        `CASE WHEN y${i} IS NOT NULL AND ${part(12)} <= 23 AND ${part(15)} <= 59 AND ${part(18)} <= 59 THEN y${i} * ${MICROS_PER_DAY} + ${part(12)} * ${MICROS_PER_HOUR} + ${part(15)} * ${MICROS_PER_MINUTE} + ${part(18)} * ${MICROS_PER_SECOND} + CAST(rpad(left(c${i}, 6), 6, '0') AS BIGINT) END`,
      ],
      [`p${i}`, `NOT regexp_matches(substr(c${i}, 7), '[1-9]')`],
      [
        `h${i}`,
        `CASE WHEN length(o${i}) = 6 THEN ${offsetMinutes} * CASE WHEN left(o${i}, 1) = '-' THEN -1 ELSE 1 END ELSE 0 END`,
      ],
      [`n${i}`, `(length(o${i}) = 6 AND (substr(o${i}, 2, 2) > '23' OR substr(o${i}, 5, 2) > '59'))`],
    ],
    ...wallClockLayers(zone, `o${i} = ''`, `h${i}`, `n${i}`, wrongType, i),
  ];
}

/**
 * From `w<i>` (µs on the wall clock, null: no such time) and `p<i>` (no digits beyond µs) to `x<i>` and `e<i>`.
 * `local`: SQL that holds where no offset was given, `shift`: SQL of the offset in minutes, `badOffset`: SQL.
 */
function wallClockLayers(
  zone: string | null,
  local: string,
  shift: string,
  badOffset: string,
  wrongType: string,
  i: number,
): Layer[] {
  const sane = `WHEN ${wrongType} THEN 'COLUMN_TYPE' WHEN w${i} IS NULL OR abs(w${i}) > ${MAX_SAFE} THEN 'TIME_INVALID' WHEN NOT p${i} THEN 'TIME_PRECISION'`;
  const shifted = `w${i} - (${shift}) * ${MICROS_PER_MINUTE}`;
  const finish = (localAt: string, localFault: string): Layer[] => [
    [[`x${i}`, `CASE WHEN ${local} THEN ${localAt} ELSE ${shifted} END`]],
    [
      [
        `e${i}`,
        `CASE ${sane} WHEN ${local} THEN ${localFault} WHEN ${badOffset} OR abs(x${i}) > ${MAX_SAFE} THEN 'TIME_INVALID' END`,
      ],
    ],
  ];
  if (zone === null) return finish('NULL', `'TIME_NO_ZONE'`);
  if (zone === 'UTC') return finish(`w${i}`, 'NULL');
  // as resolveWallClock: the offsets a day before and a day after give the two candidates
  const offset = (at: string): string => `(epoch_us(timezone(${literal(zone)}, make_timestamptz(${at}))) - (${at}))`;
  const safe = `CASE WHEN abs(w${i}) <= ${MAX_SAFE} THEN w${i} END`;
  const [before, after, beforeShows, afterShows] = [`k${i}`, `l${i}`, `kk${i}`, `ll${i}`];
  return [
    [[`u${i}`, safe]],
    [
      [before, `u${i} - ${offset(`u${i} - ${MICROS_PER_DAY}`)}`],
      [after, `u${i} - ${offset(`u${i} + ${MICROS_PER_DAY}`)}`],
    ],
    [
      [beforeShows, `${before} + ${offset(before)} = u${i}`],
      [afterShows, `${after} + ${offset(after)} = u${i}`],
    ],
    ...finish(
      `CASE WHEN ${beforeShows} THEN ${before} ELSE ${after} END`,
      `CASE WHEN ${beforeShows} AND ${afterShows} AND ${before} <> ${after} THEN 'TIME_AMBIGUOUS' WHEN NOT (${beforeShows} OR ${afterShows}) OR abs(x${i}) > ${MAX_SAFE} THEN 'TIME_INVALID' END`,
    ),
  ];
}
