/** The rows of a dataset: which events are asked about, when, with what request, and what became of them. */
import { SPLITS, type Split } from '../../domain/features/dataset-manifest.ts';
import { SerinError } from '../../domain/errors.ts';
import { quoteIdentifier as quote, toSql } from '../../domain/project/expression.ts';
import type { LabelSpec, SplitSpec } from '../../domain/project/spec.ts';
import type { DatasetDefinitions } from './dataset-definitions.ts';
import type { DatasetJob, KnowledgeCut, SpineSummary, SpineTask } from './dataset-job.ts';
import { hasVersions, openLog, requestColumn, SPINE_EVENTS, standingEventsSql, VISIBLE_AT_SQL } from './dataset-log.ts';
import { type DuckDb, type DuckDbSettings, textSql } from './duckdb.ts';
import { SQL_TYPES } from './ingest-sql.ts';
import { askSpineQuery } from './spine-query.ts';

/**
 * Writes the rows that are asked about, in order of (as_of, row_id): idx (0…n−1), row_id, as_of, split, `request <field>`;
 * for a label of the spine's own event label and label_status, and about that event own_event_at, own_visible_at and
 * `own <alias>` (whether it has the key that the row asks for).
 * @param open opens another database, for the query of a spine
 * @throws DATASET_EMPTY when the training or the test range has no rows
 */
export async function writeSpine(
  duckdb: DuckDb,
  definitions: DatasetDefinitions,
  job: DatasetJob,
  task: SpineTask,
  open: (settings: DuckDbSettings) => Promise<DuckDb>,
): Promise<SpineSummary> {
  const { spineSource, spine } = definitions;
  const { split, seed, knowledgeCut: cut } = job;
  if (spine.sql === undefined) {
    await openLog(duckdb, spineSource, job);
    // read several times, and worked out once where that is work
    await duckdb.run(
      `CREATE ${hasVersions(spineSource) ? 'TABLE' : 'VIEW'} ${SPINE_EVENTS} AS SELECT * FROM ${standingEventsSql(spineSource, cut)}`,
    );
  } else {
    await askSpineQuery(duckdb, definitions, job, task, open);
  }
  await makeCandidates(duckdb, definitions, split, seed, cut);
  refuseEmpty(definitions, split, cut, await candidateCounts(duckdb));
  const testSample = await sampleBound(duckdb, 'TEST', split.testRows);
  if (split.group !== undefined) {
    await duckdb.run(`
      UPDATE candidate SET split = 'GROUP_PURGED' WHERE split = 'TRAIN'
        AND "group" IN (SELECT "group" FROM candidate WHERE split = 'TEST' AND ${testSample} AND "group" IS NOT NULL)`);
  }
  const candidates = await candidateCounts(duckdb);
  refuseEmpty(definitions, split, cut, candidates);
  const trainSample = await sampleBound(duckdb, 'TRAIN', split.trainRows);

  // the candidates' columns have names that no source's column can have, so that expressions mean the source's
  await duckdb.run(`
    COPY (
      SELECT ROW_NUMBER() OVER (ORDER BY as_of, row_id) - 1 AS idx, * FROM (
        SELECT "candidate row_id" AS row_id, "candidate as_of" AS as_of, "candidate split" AS split
          ${rowColumns(definitions, cut)
            .map((column) => `, ${column}`)
            .join('')}
        FROM ${SPINE_EVENTS} JOIN (
          SELECT row_id AS "candidate row_id", as_of AS "candidate as_of", split AS "candidate split" FROM candidate
          WHERE CASE split WHEN 'TEST' THEN ${testSample} ELSE ${trainSample} END
        ) ON ${SPINE_EVENTS}.row_id = "candidate row_id"
      ) ORDER BY idx
    ) TO ${textSql(task.outputPath)} (FORMAT parquet, COMPRESSION snappy)`);
  const [bounds] = await duckdb.rows(
    `SELECT COUNT(*) AS rows, MIN(as_of) AS first, MAX(as_of) AS last FROM read_parquet(${textSql(task.outputPath)})`,
  );
  const { rows, first, last } = bounds as { rows: number; first: number; last: number };
  return { rows, firstAsOf: first, lastAsOf: last, candidates };
}

/** What a row says besides its id, its instant and its split, over the columns of `SPINE_EVENTS`. */
function rowColumns({ spine, label, featureSet }: DatasetDefinitions, cut: KnowledgeCut): string[] {
  const ofRequest = (name: string): string =>
    spine.sql === undefined ? toSql(spine.request.find((each) => each.name === name)!.value) : requestColumn(name);
  const request = featureSet.request.map(
    ({ name, type }) => `CAST(${ofRequest(name)} AS ${SQL_TYPES[type]}) AS ${requestColumn(name)}`,
  );
  if (label.window !== undefined) return request;
  const own = featureSet.uses.flatMap((use) => {
    const { plan } = featureSet.views[use.view]!;
    if (plan.source !== spine.source) return [];
    const same = plan.keyColumns.map((column, part) => {
      const type = SQL_TYPES[plan.keyParts[part]!.type];
      return `CAST(${quote(column)} AS ${type}) = CAST(${ofRequest(use.key[part]!)} AS ${type})`;
    });
    return [`COALESCE(${['TRUE', ...same].join(' AND ')}, FALSE) AS ${quote(`own ${use.alias}`)}`];
  });
  return [
    `CASE WHEN ${VISIBLE_AT_SQL} <= ${cut.at} THEN CAST(${toSql(label.of)} AS DOUBLE) END AS label`,
    `CASE WHEN ${VISIBLE_AT_SQL} > ${cut.at} THEN 'IMMATURE' WHEN ${toSql(label.of)} IS NULL THEN 'NULL' ELSE 'VALUE' END AS label_status`,
    'event_at AS own_event_at',
    'first_visible_at AS own_visible_at',
    ...request,
    ...own,
  ];
}

/**
 * Table `candidate`: row_id, as_of, split, group, and the sample key, whose upper half is a hash of seed and row_id and whose
 * lower half is row_id, so that the n smallest keys of a split are a sample that does not depend on the order of rows.
 */
async function makeCandidates(
  duckdb: DuckDb,
  { spine, label, featureSet }: DatasetDefinitions,
  split: SplitSpec,
  seed: number,
  cut: KnowledgeCut,
): Promise<void> {
  const { trainFrom, testTo, group } = split;
  const field = featureSet.request.find(({ name }) => name === group);
  const ofGroup =
    field === undefined
      ? 'NULL'
      : spine.sql === undefined
        ? toSql(spine.request.find(({ name }) => name === field.name)!.value)
        : requestColumn(field.name);
  const asked =
    spine.sql === undefined
      ? `SELECT row_id, ${toSql(spine.asOf)} AS as_of, ${VISIBLE_AT_SQL} AS visible_at, ${ofGroup} AS "group"
         FROM ${SPINE_EVENTS} WHERE ${spine.where === null ? 'TRUE' : toSql(spine.where)}`
      : `SELECT row_id, as_of, as_of AS visible_at, ${ofGroup} AS "group" FROM ${SPINE_EVENTS}`;
  const until = split.embargoMicros === undefined ? `as_of < ${testTo}` : 'TRUE';
  await duckdb.run(`
    CREATE TABLE candidate AS
    WITH asked AS (${asked}), ranged AS (
      SELECT row_id, as_of, visible_at, "group", CAST(row_id & 4294967295 AS UBIGINT) AS low, CAST(row_id >> 32 AS UBIGINT) AS high
      FROM asked WHERE as_of >= ${trainFrom} AND ${until} AND as_of <= ${cut.at}
    ), ${mixSteps('ranged', `xor(low, CAST(${mix32(seed)} AS UBIGINT))`, 'low_mixed')},
    ${mixSteps('low_mixed', 'xor(mixed, high)', 'mixed_twice')}
    SELECT row_id, as_of, (mixed << 32) + low AS sample, "group", ${splitSql(split, label.window)} AS split
    FROM mixed_twice`);
}

/**
 * The split of a candidate by its time: `splitAt` of `domain/features/split.ts` where the label has a window, the same with
 * the time at which the own event was known where it has none.
 */
function splitSql({ testFrom, testTo, embargoMicros }: SplitSpec, window: LabelSpec['window']): string {
  const reach = window === undefined ? 0 : window.gapMicros + window.horizonMicros;
  const isKnown =
    window === undefined ? `visible_at <= ${testFrom}` : `as_of + ${reach + window.delayMicros} <= ${testFrom}`;
  const inTest = `as_of >= ${testFrom} AND as_of < ${testTo}`;
  const reached =
    window === undefined ? `MAX(visible_at) FILTER (${inTest}) OVER ()` : `CAST(${testTo + reach} AS BIGINT)`;
  // without an embargo nothing comes after the test range
  const after =
    embargoMicros === undefined
      ? ''
      : `WHEN as_of >= ${testTo} THEN CASE WHEN as_of < ${reached} THEN 'PURGED' WHEN as_of < ${reached} + ${embargoMicros} THEN 'EMBARGOED' ELSE 'TRAIN' END`;
  return `CASE ${after} WHEN as_of >= ${testFrom} THEN 'TEST' WHEN ${isKnown} THEN 'TRAIN' ELSE 'PURGED' END`;
}

/** Common table expressions that add `mixed`, MurmurHash3's 32-bit finaliser (Appleby, public domain) of `input`. Products stay below 2^64. */
function mixSteps(from: string, input: string, name: string): string {
  const columns = 'row_id, as_of, visible_at, "group", low, high';
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
  const counts = Object.fromEntries(SPLITS.map((split) => [split, 0])) as Record<Split, number>;
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

/** The condition under which a candidate is in the sample. Rows of other splits are sampled at the rate of the training rows. */
async function sampleBound(duckdb: DuckDb, split: 'TRAIN' | 'TEST', limit: number | null): Promise<string> {
  if (limit === null) return 'TRUE';
  const [bound] = await duckdb.rows(
    `SELECT COUNT(*) AS rows, CAST(MAX(sample) AS VARCHAR) AS bound FROM (SELECT sample FROM candidate WHERE split = '${split}' ORDER BY sample LIMIT ${limit + 1})`,
  );
  if ((bound!['rows'] as number) <= limit) return 'TRUE';
  return limit === 0 ? 'FALSE' : `sample < CAST(${bound!['bound']} AS UBIGINT)`;
}
