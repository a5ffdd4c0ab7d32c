/** The newest candidate of each question, for `latest` values: the one with the greatest position. */
import type { HistoryPlan } from '../../history/plan.ts';
import type { DuckDb } from '../duckdb.ts';
import { floorToSql, PUT, sameKeySql, slotColumn } from './fact-table.ts';

/** Outputs that choose among the same rows, and the condition on them. */
export function latestGroups(plan: HistoryPlan): { readonly outputs: readonly number[]; readonly condition: string }[] {
  const groups = new Map<string, number[]>();
  plan.outputs.forEach(({ fn, where, nulls, slot }, i) => {
    if (fn !== 'latest') return;
    const conditions = [
      ...(where < 0 ? [] : [`COALESCE(f.${slotColumn(where)}, FALSE)`]),
      ...(nulls === 'skip' ? [`f.${slotColumn(slot)} IS NOT NULL`] : []),
    ];
    const condition = conditions.length === 0 ? 'TRUE' : conditions.join(' AND ');
    const outputs = groups.get(condition);
    if (outputs) outputs.push(i);
    else groups.set(condition, [i]);
  });
  return [...groups].map(([condition, outputs]) => ({ outputs, condition }));
}

/** The first look goes back over about this many rows of an average key. */
const FIRST_LOOK_ROWS = 4n;
const LOOK_GROWTH = 8n;

/**
 * Makes table `pit_newest` (idx, pos). Positions compare by event time first, so that a candidate in the last hour beats
 * all before: questions look back over a short span, and those that found nothing over one that is eight times as long.
 */
export async function findNewest(duckdb: DuckDb, keys: readonly string[], condition: string): Promise<void> {
  await duckdb.run('CREATE OR REPLACE TEMP TABLE pit_newest (idx BIGINT, pos BIGINT)');
  const grouped = keys.length === 0 ? '' : `GROUP BY ${keys.join(', ')}`;
  await duckdb.run(`
    CREATE OR REPLACE TEMP TABLE pit_open AS
    SELECT q.*, COALESCE(grave.pos, 0) AS grave_pos FROM pit_question q
    JOIN (SELECT ${[...keys, 'MIN(event_at) AS first_at'].join(', ')} FROM pit_fact WHERE op = ${PUT} ${grouped}) f
      ON ${sameKeySql(keys)} AND f.first_at <= q.cut
    LEFT JOIN pit_grave grave ON q.idx = grave.idx`);
  try {
    for (let span = await firstSpan(duckdb, keys); ; span *= LOOK_GROWTH) {
      const everything = await lookBack(duckdb, keys, condition, span);
      if (everything) return;
    }
  } finally {
    await duckdb.run('DROP TABLE pit_open');
  }
}

async function firstSpan(duckdb: DuckDb, keys: readonly string[]): Promise<bigint> {
  const distinct = keys.length === 0 ? '1' : `COUNT(DISTINCT ROW(${keys.join(', ')}))`;
  const [row] = await duckdb.rows(`
    SELECT CAST((MAX(event_at) - MIN(event_at)) // GREATEST(1, COUNT(*) // GREATEST(1, ${distinct})) AS VARCHAR) AS span
    FROM pit_fact WHERE op = ${PUT}`);
  const span = BigInt((row!['span'] as string | null) ?? 1) * FIRST_LOOK_ROWS;
  return span < 1n ? 1n : span;
}

/** One look of the open questions; true when none is left that a longer one could answer. */
async function lookBack(duckdb: DuckDb, keys: readonly string[], condition: string, span: bigint): Promise<boolean> {
  await duckdb.run(`
    INSERT INTO pit_newest
    SELECT q.idx, MAX(f.pos) FROM (
      SELECT open.*, ${floorToSql('cut', span)} - spans.n * ${span} AS span_at FROM pit_open open, (VALUES (0), (1)) spans(n)
    ) q JOIN pit_fact f ON ${sameKeySql(keys)} AND q.span_at = ${floorToSql('f.event_at', span)} AND f.event_at > q.cut - ${span}
      AND f.pos > q.grave_pos AND ${condition}
    WHERE f.op = ${PUT} GROUP BY q.idx`);
  await duckdb.run(`
    CREATE OR REPLACE TEMP TABLE pit_still_open AS
    SELECT * FROM pit_open WHERE idx NOT IN (SELECT idx FROM pit_newest)
      AND cut - ${span} >= (SELECT MIN(event_at) FROM pit_fact WHERE op = ${PUT})`);
  await duckdb.run('DROP TABLE pit_open');
  await duckdb.run('ALTER TABLE pit_still_open RENAME TO pit_open');
  const [left] = await duckdb.rows('SELECT COUNT(*) AS rows FROM pit_open');
  return left!['rows'] === 0;
}
