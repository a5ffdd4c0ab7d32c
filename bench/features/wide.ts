/** Many views of many events: latest values within a TTL, late data included, joined in one build with little memory. */
import { join } from 'node:path';
import type { EntitySpec, FeatureViewSpec, SourceSpec } from '../../domain/project/spec.ts';
import { MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND } from '../../domain/time.ts';
import { compileHistoryView } from '../../features/history/compile.ts';
import { type DuckDb, textSql } from '../../features/offline/duckdb.ts';
import { logRelationSql } from '../../features/offline/log-relation.ts';
import type { ViewQuestion } from '../../features/offline/sql/answer-spine.ts';
import { logRelation } from '../../features/offline/sql/fact-table.ts';
import { latestOf } from './latest-of.ts';
import type { LatestTable } from './latest-data.ts';
import { prepareLatest } from '../../features/offline/sql/latest-merge.ts';

export interface WideData {
  readonly spine: string;
  readonly rows: number;
  /** One for each view: its log. */
  readonly tables: readonly LatestTable[];
  readonly eventsEach: number;
}

const START = 978_307_200_000_000;
const YEAR = 365 * MICROS_PER_DAY;
const ACCOUNTS = 20_000;
const TTL = 7 * MICROS_PER_DAY;

export async function makeWideData(
  duckdb: DuckDb,
  folder: string,
  size: { readonly rows: number; readonly views: number; readonly eventsEach: number },
): Promise<WideData> {
  const tables: LatestTable[] = [];
  for (let view = 0; view < size.views; view++) {
    const path = join(folder, `events-${view}.parquet`);
    const random = (n: number): string => `hash(i, ${view}, ${n})`;
    await duckdb.run(`
      COPY (
        SELECT event_at, available_at, ROW_NUMBER() OVER (ORDER BY available_at, i) AS ingest_seq, account, happened, amount, kind FROM (
          SELECT i, event_at, event_at AS happened, CAST(${random(1)} % ${ACCOUNTS} AS BIGINT) AS account,
            event_at + CASE WHEN ${random(3)} % 10 = 0 THEN ${6 * MICROS_PER_HOUR} ELSE ${MICROS_PER_SECOND} END AS available_at,
            CAST(${random(4)} % 100000 AS DOUBLE) / 100 AS amount, CAST(${random(5)} % 100 AS BIGINT) AS kind
          FROM (SELECT i, ${START} + CAST(${random(2)} % ${YEAR} AS BIGINT) AS event_at FROM range(${size.eventsEach}) t(i)))
        ORDER BY ingest_seq
      ) TO ${textSql(path)} (FORMAT parquet)`);
    tables.push({ name: `events_${view}`, path, key: ['account'], ttlMicros: TTL, values: ['amount', 'kind'] });
  }
  const spine = join(folder, 'accounts.parquet');
  await duckdb.run(`
    COPY (
      SELECT i AS row_id, ${START} + CAST(hash(i, 7) % ${YEAR} AS BIGINT) AS as_of, CAST(hash(i, 9) % ${ACCOUNTS} AS BIGINT) AS account
      FROM range(${size.rows}) t(i) ORDER BY as_of, row_id
    ) TO ${textSql(spine)} (FORMAT parquet)`);
  return { spine, rows: size.rows, tables, eventsEach: size.eventsEach };
}

/** Views joined by one statement. More need more memory, fewer carry the rows along more often. */
const VIEWS_AT_ONCE = 2;

/** row_id, and of each view `<log>__<value>` and `<log>__<value>_status`. */
export async function joinWide(duckdb: DuckDb, { spine, tables }: WideData, output: string): Promise<void> {
  let relation = `read_parquet(${textSql(spine)})`;
  const answers: string[] = [];
  for (let from = 0; from < tables.length; from += VIEWS_AT_ONCE) {
    const questions = tables.slice(from, from + VIEWS_AT_ONCE).map(questionOf);
    const carried = ['account', 'as_of', ...answers];
    const joined = await prepareLatest(
      duckdb,
      'wide',
      { sql: relation, row: 'row_id', asOf: 'as_of', knownSeq: null },
      questions,
      carried,
    );
    const columns = questions.flatMap(({ plan }, u) =>
      plan.outputs.flatMap(({ name }, i) => [
        [`v${u}_${i}`, `${plan.source}__${name}`],
        [`status${u}_${i}`, `${plan.source}__${name}_status`],
      ]),
    );
    const table = `joined_${from}`;
    await duckdb.run(
      `CREATE TEMP TABLE ${table} AS SELECT idx AS row_id, ${[...carried, ...columns.map(([own, name]) => `${own} AS ${name}`)].join(', ')} FROM (${joined.sql})`,
    );
    if (from > 0) await duckdb.run(`DROP TABLE ${relation}`);
    relation = table;
    answers.push(...columns.map(([, name]) => name!));
  }
  await duckdb.run(`COPY ${relation} TO ${textSql(output)} (FORMAT parquet)`);
}

function questionOf({ name, path }: LatestTable): ViewQuestion {
  const column = (of: string, type: 'i64' | 'ts' | 'f64') => ({
    name: of,
    type,
    nullable: false,
    pii: false,
    description: '',
  });
  const source: SourceSpec = {
    name,
    description: '',
    owner: 'bench',
    columns: [column('happened', 'ts'), column('account', 'i64'), column('amount', 'f64'), column('kind', 'i64')],
    eventAt: 'happened',
    zone: 'UTC',
    availableAt: { op: 'column', name: 'happened' },
    eventId: ['account', 'happened'],
    freshnessSlaSeconds: 3600,
  };
  const entity: EntitySpec = { name: 'account', keys: [{ name: 'account', type: 'i64' }], description: '' };
  const spec: FeatureViewSpec = {
    name,
    version: 1,
    entity: 'account',
    source: source.name,
    key: ['account'],
    features: ['amount', 'kind'].map(latestOf),
    owner: 'bench',
    description: '',
    ttlMicros: TTL,
  };
  return {
    plan: compileHistoryView(spec, source, entity),
    log: logRelation(source, logRelationSql([path], source)),
    key: ['account'],
  };
}
