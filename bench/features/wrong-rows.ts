/** Which rows of a joined file are wrong, by looking at every event of their key: rules 3–7 of the conformance suite, by hand. */
import { type DuckDb, textSql } from '../../features/offline/duckdb.ts';
import type { LatestData, LatestTable } from './latest-data.ts';

type Joined = Pick<LatestData, 'spine' | 'tables'>;

/** Latest values by row id: per table the values in its order, null where there is none. */
export type Answers = ReadonlyMap<number, readonly (number | null)[]>;

/** A sample of the spine's rows, drawn by a hash of their number. */
export async function sampleRows(duckdb: DuckDb, { spine }: Joined, rows: number): Promise<number[]> {
  const drawn = await duckdb.rows(
    `SELECT row_id FROM (SELECT row_id, hash(row_id, 'sample') AS drawn FROM read_parquet(${textSql(spine)})) ORDER BY drawn LIMIT ${rows}`,
  );
  return drawn.map((row) => row['row_id'] as number);
}

export async function rightAnswers(duckdb: DuckDb, data: Joined, sample: readonly number[]): Promise<Answers> {
  const answers = new Map<number, (number | null)[]>(sample.map((row) => [row, []]));
  for (const table of data.tables) {
    const newest = new Map<number, readonly number[]>();
    for await (const { rows, columns } of duckdb.doubles(candidatesSql(data.spine, table, sample))) {
      for (let i = 0; i < rows; i++) {
        const [row, asOf, ...event] = columns.map((column) => column[i]!);
        const [eventAt, availableAt] = event;
        if (eventAt! > asOf! || availableAt! > asOf!) continue;
        const known = newest.get(row!);
        // of one hour a later version is a later position, so that the greatest position is the standing version
        if (known === undefined || isAfter(event, known)) newest.set(row!, [...event, asOf!]);
      }
    }
    for (const [row, values] of answers) {
      const event = newest.get(row);
      const alive = event !== undefined && event.at(-1)! - event[0]! <= table.ttlMicros;
      values.push(...table.values.map((_, i) => (alive ? event[3 + i]! : null)));
    }
  }
  return answers;
}

/** By (event_at, available_at, ingest_seq). */
function isAfter(a: readonly number[], b: readonly number[]): boolean {
  for (let i = 0; i < 3; i++) if (a[i] !== b[i]) return a[i]! > b[i]!;
  return false;
}

function candidatesSql(spine: string, { path, key, values }: LatestTable, sample: readonly number[]): string {
  const columns = [
    's.row_id',
    's.as_of',
    'e.event_at',
    'e.available_at',
    'e.ingest_seq',
    ...values.map((value) => `e.${value}`),
  ];
  return `
    SELECT ${columns.map((column) => `CAST(${column} AS DOUBLE)`).join(', ')} FROM read_parquet(${textSql(spine)}) s
    JOIN read_parquet(${textSql(path)}) e ON ${key.map((part) => `s.${part} = e.${part}`).join(' AND ')}
    WHERE s.row_id IN (${sample.join(', ')})`;
}

/** How many of the right rows a contender's file has otherwise, or not at all. */
export async function countWrong(duckdb: DuckDb, data: Joined, output: string, right: Answers): Promise<number> {
  const columns = data.tables.flatMap(({ name, values }) => values.map((value) => `${name}__${value}`));
  const found = new Map<number, (number | null)[]>();
  const rows = await duckdb.rows(
    `SELECT row_id, ${columns.map((name) => `CAST(${name} AS DOUBLE) AS ${name}`).join(', ')} FROM read_parquet(${textSql(output)}) WHERE row_id IN (${[...right.keys()].join(', ')})`,
  );
  for (const row of rows) {
    found.set(
      row['row_id'] as number,
      // pandas has NaN for null
      columns.map((name) => (Number.isNaN(row[name]) ? null : (row[name] as number | null))),
    );
  }
  let wrong = 0;
  for (const [row, values] of right) {
    const own = found.get(row);
    if (own === undefined || own.some((value, i) => value !== values[i])) wrong++;
  }
  return wrong;
}
