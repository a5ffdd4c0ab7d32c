/**
 * Latest values in one sorted pass, exact for late data, corrections, deletions and tombstones.
 *
 * A row can be seen from `vis = max(event_at, available_at)` on. Going through a key's rows in order of (vis, position), a row
 * older than one that was already to be seen is never the latest, and of the rows of one `vis` only the last can be. What
 * is left has rising positions, so that a plain ASOF join on `vis` finds the row with the greatest position that could be
 * seen. A tombstone takes part as a row: when it wins, everything older is dead.
 *
 * That is all where rows never stop to stand: without versions, and where versions share key and event time (then a
 * later version has the greater position) and none is retracted or filtered. Otherwise a row stands from `vis` until
 * `known_to`, when its next version is known. Rows that stand for ever go the way above; those with an end, mostly few, are
 * looked up by time spans of the order of their length, and the greater position wins.
 */
import { toSql } from '../../../domain/project/expression.ts';
import type { HistoryPlan } from '../../history/plan.ts';
import { SQL_TYPES } from '../ingest-sql.ts';
import { durationSql } from './aggregate-sql.ts';
import type { SpineRelation, ViewQuestion } from './answer-spine.ts';
import { factsSql, keyColumn, type LogRelation, PUT, RETRACT, slotColumn, TOMBSTONE } from './fact-table.ts';
import { latestGroups } from './newest-sql.ts';

/** True when every output of a view is a latest value, which is when `latestColumnsSql` answers it. */
export function isLatestOnly(plan: HistoryPlan): boolean {
  return plan.outputs.every(({ fn }) => fn === 'latest');
}

/**
 * A SELECT with one row per spine row: `idx` (the spine's row), the carried columns, and for output i of question u
 * `v<u>_<i>` (its value, the default in place of null) and `status<u>_<i>` (before the default). Rows come in no order.
 *
 *   const sql = latestColumnsSql(
 *     { sql: 'spine', row: 'idx', asOf: 'as_of', knownSeq: null },
 *     [{ plan, log: logRelation(source, logName(source.name)), key: [requestColumn('origin')] }]);
 *   await duckdb.run(`CREATE TABLE airport AS ${sql}`);
 *
 * @param carried columns of the spine that go along
 * @throws RangeError for a view with other outputs, and for a spine with `knownSeq`
 */
export function latestColumnsSql(
  spine: Omit<SpineRelation, 'rows'>,
  questions: readonly ViewQuestion[],
  carried: readonly string[] = [],
): string {
  const keyColumns = questions.flatMap(({ plan, key }, u) =>
    key.map((sql, i) => `CAST(${sql} AS ${SQL_TYPES[plan.keyParts[i]!.type]}) AS ${askedKey(u, i)}`),
  );
  const own = [`CAST(${spine.row} AS BIGINT) AS idx`, `${spine.asOf} AS as_of`, ...keyColumns];
  const steps = [
    `q AS (SELECT ${[...own, ...carried.map((name, c) => `${name} AS carried${c}`)].join(', ')} FROM ${spine.sql})`,
  ];
  const columns = ['q.idx', ...carried.map((name, c) => `q.carried${c} AS ${name}`)];
  let from = 'q';
  for (const [u, { plan, log }] of questions.entries()) {
    if (!isLatestOnly(plan) || spine.knownSeq !== null)
      throw new RangeError(`${plan.id}: only latest values as of the rows' own times have this form`);
    const outputs: string[] = [];
    for (const choice of choicesOf(u, plan, log)) {
      const { name } = choice;
      if (rowsStandForEver(choice)) {
        steps.push(lastingSql(choice, factsSql(plan, { ...log, identity: null }, 'none', choice.slots)));
        from += ` ASOF LEFT JOIN ${name} ON ${asksSql(choice, name)} AND ${cutSql(plan)} >= ${name}.vis`;
      } else {
        steps.push(...endingSql(choice));
        from += ` LEFT JOIN ${name} ON q.idx = ${name}.idx`;
      }
      for (const i of choice.outputs) outputs[i] = outputSql(choice, i, `${name}.op = ${TOMBSTONE}`);
    }
    columns.push(...outputs);
  }
  return `WITH ${steps.join(', ')} SELECT ${columns.join(', ')} FROM ${from}`;
}

function askedKey(question: number, part: number): string {
  return `k${question}_${part}`;
}

function asksSql({ u, plan }: Choice, fact = 'f'): string {
  const same = plan.keyParts.map((_, i) => `q.${askedKey(u, i)} = ${fact}.${keyColumn(i)}`);
  return same.length === 0 ? 'TRUE' : same.join(' AND ');
}

/** The cut of a question `q`. */
export function cutSql({ boundary }: HistoryPlan): string {
  return boundary === 'exclusive' ? '(q.as_of - 1)' : 'q.as_of';
}

/** Outputs that choose among the same rows of one view. */
export interface Choice {
  /** Of the question in the list. */
  readonly u: number;
  readonly plan: HistoryPlan;
  readonly log: LogRelation;
  readonly outputs: readonly number[];
  /** Slots that the outputs or the condition read, and those of the condition. */
  readonly slots: readonly number[];
  readonly conditionSlots: readonly number[];
  /** Over `f`: which rows can be chosen. */
  readonly condition: string;
  /** Of the relation that holds the chosen rows. */
  readonly name: string;
}

export function choicesOf(u: number, plan: HistoryPlan, log: LogRelation): Choice[] {
  return latestGroups(plan).map(({ outputs, condition }, g) => {
    const used = outputs.map((i) => plan.outputs[i]!);
    const conditionSlots = used.flatMap(({ where, nulls, slot }) => [where, nulls === 'skip' ? slot : -1]);
    const listed = (slots: readonly number[]): number[] =>
      [...new Set(slots.filter((slot) => slot >= 0))].toSorted((a, b) => a - b);
    return {
      u,
      plan,
      log,
      outputs,
      slots: listed([...conditionSlots, ...used.map(({ slot }) => slot)]),
      conditionSlots: listed(conditionSlots),
      condition,
      name: `newest${u}_${g}`,
    };
  });
}

/** Whether a row never stops to stand, as far as these outputs can tell. */
export function rowsStandForEver({ plan, log, condition }: Choice): boolean {
  return log.identity === null || (plan.identity === 'key_event' && log.op === null && condition === 'TRUE');
}

/** What can be chosen, and the tombstones. */
export function candidatesSql({ plan, log, condition }: Choice, facts: string, also = 'TRUE'): string {
  const kept = [
    ...(log.op === null ? [] : [`f.op <> ${RETRACT}`]),
    ...(condition === 'TRUE' ? [] : [log.op === null ? condition : `(f.op = ${TOMBSTONE} OR ${condition})`]),
    ...(also === 'TRUE' ? [] : [also]),
    ...plan.keyParts.map((_, i) => `f.${keyColumn(i)} IS NOT NULL`),
  ];
  return `SELECT f.*, GREATEST(f.event_at, f.av) AS vis FROM (${facts}) f${kept.length === 0 ? '' : ` WHERE ${kept.join(' AND ')}`}`;
}

/** The rows that are the newest of their key from their `vis` on until the next one's. */
function lastingSql(choice: Choice, facts: string, name = choice.name): string {
  const keys = choice.plan.keyParts.map((_, i) => keyColumn(i));
  const partition = keys.length === 0 ? '' : `PARTITION BY ${keys.join(', ')} `;
  return `${name} AS (
    SELECT * FROM (${candidatesSql(choice, facts)})
    WINDOW by_vis AS (${partition}ORDER BY vis, event_at, av, seq)
    QUALIFY event_at >= MAX(event_at) OVER by_vis AND LEAD(vis) OVER by_vis IS DISTINCT FROM vis)`;
}

/** Lengths of stay are sorted into classes, each sixteen times as long as the one before. */
const STAY_BITS = 4;

/** As `lastingSql`, but one row per question, and also of rows that stand for a time only. */
function endingSql(choice: Choice): string[] {
  const { plan, log, slots, name } = choice;
  const cut = cutSql(plan);
  const place = '{event_at: f.event_at, av: f.av, seq: f.seq}';
  const row = `{${[`place: ${place}`, 'op: f.op', ...slots.map((slot) => `${slotColumn(slot)}: f.${slotColumn(slot)}`)].join(', ')}}`;
  // the class c whose spans of 16^c µs are at least as long as the stay, so that a stay touches two of them at most
  const stay = `CAST(CEIL(LOG2(f.known_to - f.vis + 1.0) / ${STAY_BITS} + 1e-9) AS BIGINT)`;
  const ending = `f.op = ${PUT} AND f.known_to > GREATEST(f.event_at, f.av)`;
  return [
    `${name}_fact AS MATERIALIZED (${factsSql(plan, log, 'none', slots)})`,
    lastingSql(choice, `SELECT * EXCLUDE (known_to) FROM ${name}_fact WHERE known_to IS NULL`, `${name}_lasting`),
    `${name}_ending AS MATERIALIZED (
      SELECT f.*, ${stay} AS stay FROM (${candidatesSql(choice, `SELECT * FROM ${name}_fact`, ending)}) f)`,
    `${name}_looked AS (
      SELECT q.idx, MAX(${row}) AS found FROM (
        SELECT q.*, stay, (${cut} >> (${STAY_BITS} * stay)) - back AS span
        FROM q, (SELECT DISTINCT stay FROM ${name}_ending), (VALUES (0), (1)) spans(back)
      ) q JOIN ${name}_ending f ON ${asksSql(choice)} AND q.stay = f.stay AND q.span = (f.vis >> (${STAY_BITS} * f.stay))
        AND f.vis <= ${cut} AND ${cut} < f.known_to
      GROUP BY q.idx)`,
    `${name} AS (
      SELECT idx, found.place.event_at AS event_at, found.op AS op${slots.map((slot) => `, found.${slotColumn(slot)} AS ${slotColumn(slot)}`).join('')} FROM (
        SELECT q.idx, CASE WHEN looked.found IS NULL OR (f.vis IS NOT NULL AND looked.found.place < ${place}) THEN ${row} ELSE looked.found END AS found FROM q
        ASOF LEFT JOIN ${name}_lasting f ON ${asksSql(choice)} AND ${cut} >= f.vis
        LEFT JOIN ${name}_looked looked ON q.idx = looked.idx))`,
  ];
}

/**
 * Value and status of an output from `name`, the chosen row (all null where there is none).
 * @param deleted holds where a tombstone was chosen
 */
export function outputSql({ u, plan: { outputs, slots, ttl }, name }: Choice, i: number, deleted: string): string {
  const { slot, default: fallback } = outputs[i]!;
  const value = `${name}.${slotColumn(slot)}`;
  const expired = ttl === null ? '' : `WHEN q.as_of - ${name}.event_at > ${durationSql(ttl)}`;
  // a tombstone has no value, so that its slots are null as they are
  const alive = ttl === null ? value : `CASE ${expired} THEN NULL ELSE ${value} END`;
  const { type } = slots[slot]!;
  return `
    ${fallback === null ? alive : `COALESCE(${alive}, ${toSql({ op: 'literal', value: typeof fallback === 'bigint' ? String(fallback) : fallback, type })})`} AS v${u}_${i},
    CASE WHEN ${deleted} THEN 'deleted' WHEN ${name}.event_at IS NULL THEN 'not_found'
      ${expired === '' ? '' : `${expired} THEN 'expired'`} WHEN ${value} IS NULL THEN 'null' ELSE 'present' END AS status${u}_${i}`;
}
