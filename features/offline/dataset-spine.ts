/** The rows of a dataset: which events are asked about, when, with what request, and what became of them. */
import { DATASET_COLUMNS, type Split, type SplitCounts } from '../../domain/features/dataset-manifest.ts';
import { SerinError } from '../../domain/errors.ts';
import { type ColumnType, quoteIdentifier as quote, toSql } from '../../domain/project/expression.ts';
import type { SourceSpec, SplitSpec } from '../../domain/project/spec.ts';
import type { DatasetDefinitions } from './dataset-definitions.ts';
import type { KnowledgeCut, SourceLog } from './dataset-job.ts';
import { doubleSql, type DuckDb, fileListSql } from './duckdb.ts';
import type { AvailabilityCount, OwnEventCount } from './leakage.ts';

export const SQL_TYPES: Readonly<Record<ColumnType, string>> = {
  i64: 'BIGINT',
  f64: 'DOUBLE',
  bool: 'BOOLEAN',
  str: 'VARCHAR',
  ts: 'BIGINT',
};

/** When an event can first be seen; over the columns of a log. */
export const VISIBLE_AT_SQL = 'GREATEST(event_at, available_at)';

export function logName(source: string): string {
  return quote(`log ${source}`);
}

/** A request field's column in the spine table. */
export function requestColumn(field: string): string {
  return quote(`request ${field}`);
}

/** A view over the log of a source as it was known at the cut. */
export async function openLog(
  duckdb: DuckDb,
  source: SourceSpec,
  { paths }: SourceLog,
  { seq }: KnowledgeCut,
): Promise<void> {
  const empty = [
    'CAST(NULL AS BIGINT) AS event_at, CAST(NULL AS BIGINT) AS available_at, CAST(NULL AS BIGINT) AS ingest_seq, CAST(NULL AS UUID) AS event_id',
    ...source.columns.map((column) => `CAST(NULL AS ${SQL_TYPES[column.type]}) AS ${quote(column.name)}`),
  ];
  const rows =
    paths.length === 0
      ? `SELECT ${empty.join(', ')} WHERE FALSE`
      : `SELECT * FROM read_parquet(${fileListSql(paths)}) WHERE ingest_seq <= ${seq[source.name]}`;
  await duckdb.run(`CREATE VIEW ${logName(source.name)} AS ${rows}`);
}

export interface SpineTable {
  readonly rows: number;
  readonly asOf: Float64Array;
  /** Positions in SPLITS. */
  readonly split: Float64Array;
  /** NaN unless the label is known and not null. */
  readonly label: Float64Array;
  readonly counts: Readonly<Record<Split, SplitCounts>>;
}

export const SPLITS: readonly Split[] = ['TRAIN', 'TEST', 'PURGED'];

/**
 * Makes table `spine`, one row per kept event in order of (as_of, row_id): idx (0…n−1), row_id, as_of, split, label,
 * label_status, `request <field>`, and about the row's own event own_event_at, own_visible_at, `own <alias>` (whether it
 * has the key that the row asks for).
 * @throws DATASET_EMPTY when the training or the test range has no rows
 */
export async function makeSpine(
  duckdb: DuckDb,
  definitions: DatasetDefinitions,
  split: SplitSpec,
  seed: number,
  cut: KnowledgeCut,
): Promise<SpineTable> {
  await makeCandidates(duckdb, definitions, split, seed, cut);
  const candidates = await candidateCounts(duckdb);
  refuseEmpty(definitions, split, cut, candidates);
  const trainSample = await sampleBound(duckdb, 'TRAIN', split.trainRows, candidates.TRAIN);
  const testSample = await sampleBound(duckdb, 'TEST', split.testRows, candidates.TEST);

  const { spine, label, featureSet } = definitions;
  const request = featureSet.request.map((field) => {
    const { value } = spine.request.find((each) => each.name === field.name)!;
    return `CAST(${toSql(value)} AS ${SQL_TYPES[field.type]}) AS ${requestColumn(field.name)}`;
  });
  const own = featureSet.uses.flatMap((use) => {
    const view = featureSet.views[use.view]!;
    if (view.source !== spine.source) return [];
    const same = view.keyColumns.map((column, part) => {
      const asked = toSql(spine.request.find((each) => each.name === use.key[part])!.value);
      const type = SQL_TYPES[view.keyParts[part]!.type];
      return `CAST(${quote(column)} AS ${type}) = CAST(${asked} AS ${type})`;
    });
    return [`COALESCE(${same.join(' AND ')}, FALSE) AS ${quote(`own ${use.alias}`)}`];
  });
  // the candidates' columns have names that no source's column can have, so that expressions mean the source's
  await duckdb.run(`
    CREATE TABLE spine AS
    SELECT ROW_NUMBER() OVER (ORDER BY as_of, row_id) - 1 AS idx, * FROM (
      SELECT "candidate row_id" AS row_id, "candidate as_of" AS as_of, "candidate split" AS split,
        CASE WHEN ${VISIBLE_AT_SQL} <= ${cut.at} THEN CAST(${toSql(label.of)} AS DOUBLE) END AS label,
        CASE WHEN ${VISIBLE_AT_SQL} > ${cut.at} THEN 'IMMATURE' WHEN ${toSql(label.of)} IS NULL THEN 'NULL' ELSE 'VALUE' END AS label_status,
        event_at AS own_event_at, ${VISIBLE_AT_SQL} AS own_visible_at
        ${[...request, ...own].map((column) => `, ${column}`).join('')}
      FROM ${logName(spine.source)} JOIN (
        SELECT row_id AS "candidate row_id", as_of AS "candidate as_of", split AS "candidate split" FROM candidate
        WHERE CASE split WHEN 'TEST' THEN ${testSample} ELSE ${trainSample} END
      ) ON ingest_seq = "candidate row_id"
    )`);
  await duckdb.run('DROP TABLE candidate');
  return readSpine(duckdb, candidates);
}

/**
 * Table `candidate`: row_id, as_of, split and the sample key, whose upper half is a hash of seed and row_id and whose lower
 * half is row_id, so that the n smallest keys of a split are a sample that does not depend on the order of rows.
 */
async function makeCandidates(
  duckdb: DuckDb,
  { spine }: DatasetDefinitions,
  { trainFrom, testFrom, testTo }: SplitSpec,
  seed: number,
  cut: KnowledgeCut,
): Promise<void> {
  await duckdb.run(`
    CREATE TABLE candidate AS
    WITH asked AS (
      SELECT ingest_seq AS row_id, ${toSql(spine.asOf)} AS as_of, ${VISIBLE_AT_SQL} AS visible_at
      FROM ${logName(spine.source)}
      WHERE ${spine.where === null ? 'TRUE' : toSql(spine.where)}
    ), ranged AS (
      SELECT row_id, as_of, visible_at, CAST(row_id & 4294967295 AS UBIGINT) AS low, CAST(row_id >> 32 AS UBIGINT) AS high
      FROM asked WHERE as_of >= ${trainFrom} AND as_of < ${testTo} AND as_of <= ${cut.at}
    ), ${mixSteps('ranged', `xor(low, CAST(${mix32(seed)} AS UBIGINT))`, 'low_mixed')},
    ${mixSteps('low_mixed', 'xor(mixed, high)', 'mixed_twice')}
    SELECT row_id, as_of, (mixed << 32) + low AS sample,
      CASE WHEN as_of >= ${testFrom} THEN 'TEST' WHEN visible_at <= ${testFrom} THEN 'TRAIN' ELSE 'PURGED' END AS split
    FROM mixed_twice`);
}

/** Common table expressions that add `mixed`, MurmurHash3's 32-bit finaliser (Appleby, public domain) of `input`. Products stay below 2^64. */
function mixSteps(from: string, input: string, name: string): string {
  const columns = 'row_id, as_of, visible_at, low, high';
  return `
    ${name}_0 AS (SELECT ${columns}, ${input} AS h FROM ${from}),
    ${name}_1 AS (SELECT ${columns}, (xor(h, h >> 16) * 2246822507) & 4294967295 AS h FROM ${name}_0),
    ${name}_2 AS (SELECT ${columns}, (xor(h, h >> 13) * 3266489909) & 4294967295 AS h FROM ${name}_1),
    ${name} AS (SELECT ${columns}, xor(h, h >> 16) AS mixed FROM ${name}_2)`;
}

/** The same finaliser, for the seed. */
function mix32(value: number): number {
  let h = value >>> 0;
  h = Math.imul(h ^ (h >>> 16), 2246822507);
  h = Math.imul(h ^ (h >>> 13), 3266489909);
  return (h ^ (h >>> 16)) >>> 0;
}

async function candidateCounts(duckdb: DuckDb): Promise<Record<Split, number>> {
  const counts: Record<Split, number> = { TRAIN: 0, TEST: 0, PURGED: 0 };
  for (const row of await duckdb.rows('SELECT split, COUNT(*) AS rows FROM candidate GROUP BY split')) {
    counts[row['split'] as Split] = row['rows'] as number;
  }
  return counts;
}

function refuseEmpty(
  { spine }: DatasetDefinitions,
  { trainFrom, testFrom, testTo }: SplitSpec,
  cut: KnowledgeCut,
  { TRAIN, TEST, PURGED }: Readonly<Record<Split, number>>,
): void {
  const refuse = (what: string, from: number, to: number, also: string): never => {
    throw new SerinError(
      'DATASET_EMPTY',
      `the spine "${spine.name}" has no ${what} rows from ${iso(from)} to ${iso(to)} in what was known at ${iso(cut.at)}${also}`,
      { fields: { spine: spine.name, from, to, knowledgeCutAt: cut.at } },
    );
  };
  if (TRAIN === 0) {
    const purged = PURGED === 0 ? '' : ` (${PURGED} rows have a label that was not known at ${iso(testFrom)})`;
    refuse('training', trainFrom, testFrom, purged);
  }
  if (TEST === 0) refuse('test', testFrom, testTo, '');
}

function iso(at: number): string {
  return new Date(at / 1000).toISOString();
}

/** The condition under which a candidate is in the sample. Purged rows are sampled at the rate of the training rows. */
async function sampleBound(duckdb: DuckDb, split: Split, limit: number | null, candidates: number): Promise<string> {
  if (limit === null || candidates <= limit) return 'TRUE';
  const [bound] = await duckdb.rows(
    `SELECT CAST(MAX(sample) AS VARCHAR) AS bound FROM (SELECT sample FROM candidate WHERE split = '${split}' ORDER BY sample LIMIT ${limit})`,
  );
  const largest = bound?.['bound'] ?? null;
  return largest === null ? 'FALSE' : `sample <= CAST(${largest} AS UBIGINT)`;
}

async function readSpine(duckdb: DuckDb, candidates: Readonly<Record<Split, number>>): Promise<SpineTable> {
  const counts = {} as Record<Split, SplitCounts>;
  for (const split of SPLITS)
    counts[split] = { candidates: candidates[split], rows: 0, labelled: 0, immature: 0, positives: 0 };
  for (const row of await duckdb.rows(`
    SELECT split, COUNT(*) AS rows, COUNT(*) FILTER (label_status = 'VALUE') AS labelled,
      COUNT(*) FILTER (label_status = 'IMMATURE') AS immature, COUNT(*) FILTER (label = 1) AS positives
    FROM spine GROUP BY split`)) {
    const split = row['split'] as Split;
    counts[split] = {
      candidates: candidates[split],
      rows: row['rows'] as number,
      labelled: row['labelled'] as number,
      immature: row['immature'] as number,
      positives: row['positives'] as number,
    };
  }
  const rows = SPLITS.reduce((sum, split) => sum + counts[split].rows, 0);
  const [asOf, split, label] = [new Float64Array(rows), new Float64Array(rows), new Float64Array(rows)];
  const splitNumber = `CASE split WHEN 'TRAIN' THEN 0 WHEN 'TEST' THEN 1 ELSE 2 END`;
  let from = 0;
  for await (const chunk of duckdb.doubles(
    `SELECT ${[DATASET_COLUMNS.asOf, splitNumber, DATASET_COLUMNS.label].map(doubleSql).join(', ')} FROM spine ORDER BY idx`,
  )) {
    [asOf, split, label].forEach((column, c) => column.set(chunk.columns[c]!.subarray(0, chunk.rows), from));
    from += chunk.rows;
  }
  return { rows, asOf, split, label, counts };
}

/** For each view over the label's source, the rows that can see their own event. */
export async function countOwnEvents(
  duckdb: DuckDb,
  { spine, featureSet }: DatasetDefinitions,
): Promise<OwnEventCount[]> {
  const counts: OwnEventCount[] = [];
  for (const use of featureSet.uses) {
    const view = featureSet.views[use.view]!;
    if (view.source !== spine.source) continue;
    const [row] = await duckdb.rows(`
      SELECT COUNT(*) AS rows, COUNT(*) FILTER (${quote(`own ${use.alias}`)} AND own_visible_at <= as_of
        AND own_event_at > as_of - ${view.horizonMicros}) AS visible
      FROM spine`);
    counts.push({
      alias: use.alias,
      view: view.id,
      source: view.source,
      rows: row!['rows'] as number,
      visible: row!['visible'] as number,
    });
  }
  return counts;
}

/** For each view over the label's source, the events that were recorded as available no later than they happened. */
export async function countAssumedAvailability(
  duckdb: DuckDb,
  { spine, featureSet }: DatasetDefinitions,
): Promise<AvailabilityCount[]> {
  const uses = featureSet.uses.filter((use) => featureSet.views[use.view]!.source === spine.source);
  if (uses.length === 0) return [];
  const [row] = await duckdb.rows(
    `SELECT COUNT(*) AS events, COUNT(*) FILTER (available_at <= event_at) AS at_once FROM ${logName(spine.source)}`,
  );
  return uses.map((use) => ({
    alias: use.alias,
    view: featureSet.views[use.view]!.id,
    source: spine.source,
    events: row!['events'] as number,
    atOnce: row!['at_once'] as number,
  }));
}
