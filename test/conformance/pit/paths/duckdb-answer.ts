/** A world answered by DuckDB alone (`features/offline/sql`): no kernel chooses a row here. */
import type { DuckDb } from '../../../../features/offline/duckdb.ts';
import { compileHistoryView } from '../../../../features/history/compile.ts';
import type { OutputValue } from '../../../../features/history/plan.ts';
import { answerLabel, type LabelEvents } from '../../../../features/offline/sql/answer-labels.ts';
import {
  answerLatest,
  answerSpine,
  type SpineRelation,
  type ViewQuestion,
} from '../../../../features/offline/sql/answer-spine.ts';
import type { LogRelation } from '../../../../features/offline/sql/fact-table.ts';
import { isLatestOnly } from '../../../../features/offline/sql/latest-sql.ts';
import { createTypedTable } from '../../../../features/offline/sql/typed-table.ts';
import type { WorldSource } from '../case-sources.ts';
import type { World } from '../case-specs.ts';

/** One output of a world, a view's or a label's: its values and statuses by spine row. */
export interface WorldColumn {
  readonly values: readonly OutputValue[];
  /** In capitals, as cases have them. */
  readonly statuses: readonly string[];
}

export interface DuckDbAnswer {
  /** Outputs of the views in their order, then the labels. */
  readonly columns: readonly WorldColumn[];
  /** What differs between the general plan and those for latest values, in views that have them; empty: nothing. */
  readonly disagreements: readonly string[];
}

export async function answerByDuckDb(duckdb: DuckDb, world: World): Promise<DuckDbAnswer> {
  const tables = new Map(world.sources.map((source, i) => [source, `world_source_${i}`]));
  for (const [source, table] of tables) await loadSource(duckdb, source, table);
  const spine = await loadSpine(duckdb, world);
  const events = (source: WorldSource): LabelEvents => ({
    source: source.spec,
    log: logOf(source, tables.get(source)!),
    keyParts: source.entity.keys,
  });
  const columns: WorldColumn[] = [];
  const disagreements: string[] = [];
  for (const view of world.views) {
    const question: ViewQuestion = {
      plan: compileHistoryView(view.spec, view.source.spec, view.source.entity),
      log: logOf(view.source, tables.get(view.source)!),
      key: view.on.map(spineColumn),
    };
    const [answer] = await answerSpine(duckdb, spine, [question]);
    columns.push(
      ...view.outputs.map((_, i) => ({
        values: answer!.values[i]!,
        statuses: answer!.statuses[i]!.map((status) => status.toUpperCase()),
      })),
    );
    for (const plan of isLatestOnly(question.plan) ? (['sql', 'merge'] as const) : []) {
      const fast = await answerLatest(duckdb, spine, question, plan);
      for (const [i, { name }] of view.outputs.entries()) {
        disagreements.push(
          ...differences(plan, name, 'value', answer!.values[i]!, fast.values[i]!),
          ...differences(plan, name, 'status', answer!.statuses[i]!, fast.statuses[i]!),
        );
      }
    }
  }
  for (const { spec, source, on, censor } of world.labels) {
    columns.push(
      await answerLabel(duckdb, spine, {
        label: spec,
        events: events(source),
        censor: censor && events(censor.source),
        key: on.map(spineColumn),
        censorKey: censor?.on.map(spineColumn) ?? [],
        builtAt: world.builtAt!,
      }),
    );
  }
  return { columns, disagreements };
}

function differences(
  plan: string,
  name: string,
  what: string,
  general: readonly unknown[],
  fast: readonly unknown[],
): string[] {
  return general.flatMap((value, row) =>
    Object.is(value, fast[row])
      ? []
      : [
          `${name}, row ${row}: the ${what} is ${String(value)} by the general plan, ${String(fast[row])} by the plan for latest values (${plan})`,
        ],
  );
}

function spineColumn(column: number): string {
  return `c${column}`;
}

/** The columns of a log stand beside those of the source, whose names (`k0`, `c0`, `op`) they cannot take. */
function logOf({ spec, identity, keyColumns }: WorldSource, table: string): LogRelation {
  const key = ['event_at', ...keyColumns].join(', ');
  return {
    sql: table,
    identity: identity === 'append' ? null : identity === 'row_id' ? '"row"' : `ROW(${key})`,
    op: spec.operation === undefined ? null : 'operation',
  };
}

const OPERATIONS = { put: 0, retract: 1, tombstone: 2 };

async function loadSource(duckdb: DuckDb, { spec, rows }: WorldSource, table: string): Promise<void> {
  const times = ['event_at', 'available_at', 'ingest_seq', 'operation'].map((name) => ({ name, type: 'i64' as const }));
  await createTypedTable(
    duckdb,
    table,
    [...times, ...spec.columns],
    rows.map(({ eventAt, availableAt, seq, kind, row }) => [
      eventAt,
      availableAt,
      seq,
      OPERATIONS[kind],
      ...spec.columns.map(({ name }) => row[name] ?? null),
    ]),
  );
}

async function loadSpine(duckdb: DuckDb, { spine }: World): Promise<SpineRelation> {
  await createTypedTable(
    duckdb,
    'world_spine',
    [
      { name: 'spine_row', type: 'i64' },
      { name: 'asked_at', type: 'ts' },
      ...spine.types.map((type, i) => ({ name: spineColumn(i), type })),
    ],
    spine.rows.map((row, i) => [i, spine.asOf[i]!, ...row]),
  );
  return { sql: 'world_spine', rows: spine.rows.length, row: 'spine_row', asOf: 'asked_at', knownSeq: null };
}
