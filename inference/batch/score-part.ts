/** One part of a batch, from rows to a file of answers. */
import { join } from 'node:path';
import { SerinError } from '../../domain/errors.ts';
import { quoteIdentifier as quote, type Row } from '../../domain/project/expression.ts';
import { type RequestField, versioned } from '../../domain/project/spec.ts';
import { postProcess } from '../../domain/registry/post-processing.ts';
import type { ScoredRows, ScoreJob } from '../../domain/scoring/score-job.ts';
import { featureDefinitions } from '../../features/offline/dataset-definitions.ts';
import { requestColumn } from '../../features/offline/dataset-log.ts';
import { doubleSql, type DuckDb, textSql } from '../../features/offline/duckdb.ts';
import { featuresOfRows } from '../../features/offline/row-features.ts';
import { openColumnScorer } from './column-scorer.ts';
import {
  asOfSql,
  featureSql,
  fieldSql,
  INPUT,
  type InputColumns,
  openInput,
  passedColumns,
  sliceSql,
} from './input-sql.ts';

/** Scores and labels, row by row of the input. */
const SCORED = 'score_output';
const NO_REQUEST: Row = {};

type OnRows = (rows: number) => void;

/**
 * Writes the part's file: the input's columns but for ready features, then prediction_id, as_of, version, score, label and,
 * where the version names its classes, class. The same job gives the same bytes.
 * @param duckdb with one thread
 * @param onRows told how many events and rows have gone by, over and over; what it throws ends the work
 * @throws SerinError COLUMN_UNKNOWN, COLUMN_TYPE, INPUT_INVALID for an input that does not fit; MODEL_FILE_INVALID
 */
export async function scorePart(duckdb: DuckDb, job: ScoreJob, onRows: OnRows): Promise<ScoredRows> {
  // one order, so that rows, scores and bytes are the same every time
  await duckdb.run('SET preserve_insertion_order = true');
  const columns = await openInput(duckdb, job.slices);
  const passed = passedColumns(columns, job);
  const asOf = asOfSql(columns, job.asOf);
  const slicing = slicingField(job);
  const features = job.featuresReady
    ? readyFeatures(columns, slicing, job)
    : await joinedFeatures(duckdb, columns, asOf, slicing, job, onRows);
  const summary = await scoreRows(duckdb, features, slicing, job, onRows);
  await writeOutput(duckdb, passed, asOf, job);
  return summary;
}

/** The request field by whose value the threshold is chosen; undefined: the version has one threshold. */
function slicingField({ project, manifest }: ScoreJob): RequestField | undefined {
  const set = project.featureSets.find((each) => versioned(each) === manifest.featureSet);
  return set?.request.find(({ name }) => name === manifest.slices?.by);
}

/** A SELECT of the features and, where thresholds are sliced, the number of the row's slice; all DOUBLE, in the order of the rows. */
function readyFeatures(columns: InputColumns, slicing: RequestField | undefined, { manifest }: ScoreJob): string {
  const selected = manifest.featureNames.map((name) => featureSql(columns, name));
  if (slicing !== undefined) selected.push(sliceSql(fieldSql(columns, slicing), slicing.type, manifest.slices!));
  return `SELECT ${selected.map(doubleSql).join(', ')} FROM ${INPUT}`;
}

/** The same with features as of each row's instant, by the code that makes datasets. */
async function joinedFeatures(
  duckdb: DuckDb,
  columns: InputColumns,
  asOf: string,
  slicing: RequestField | undefined,
  { project, manifest, knowledge, batch, firstRow, folder, duckdb: settings }: ScoreJob,
  onRows: OnRows,
): Promise<string> {
  if (knowledge === null) throw new Error('features are to be read, but the job has no log');
  const definitions = featureDefinitions(project, manifest.featureSet);
  const { request, featureNames } = definitions.featureSet;
  const fields = request.map((field) => `${fieldSql(columns, field)} AS ${requestColumn(field.name)}`);
  const spinePath = join(folder, 'spine.parquet');
  const spine = `read_parquet(${textSql(spinePath)})`;
  await duckdb.run(`
    COPY (SELECT ${['ROW_NUMBER() OVER () - 1 AS idx', `${asOf} AS as_of`, ...fields].join(', ')} FROM ${INPUT})
    TO ${textSql(spinePath)} (FORMAT parquet, COMPRESSION snappy)`);
  const [bounds] = await duckdb.rows(`
    SELECT COUNT(*) AS rows, MIN(as_of) AS first, MAX(as_of) AS last, MIN(idx) FILTER (as_of IS NULL) AS lost FROM ${spine}`);
  const { rows, first, last, lost } = bounds as Readonly<Record<string, number | null>>;
  if (lost !== null) {
    const row = firstRow + lost!;
    throw new SerinError('INPUT_INVALID', `row ${row} of the input has no instant: its as_of is null`, {
      fields: { field: 'as_of', row },
    });
  }
  const answered = await featuresOfRows(
    duckdb,
    definitions,
    { logs: knowledge.logs, knowledgeCut: knowledge.cut, digest: `${batch} ${firstRow}` },
    { spinePath, bounds: { rows: rows!, firstAsOf: first!, lastAsOf: last! }, folder, duckdb: settings },
    onRows,
  );
  const selected = featureNames.map((_, i) => `f${i}`);
  if (slicing !== undefined)
    selected.push(sliceSql(`asked.${requestColumn(slicing.name)}`, slicing.type, manifest.slices!));
  return `
    SELECT ${selected.map(doubleSql).join(', ')}
    FROM (${answered}) answered JOIN ${spine} asked ON asked.idx = answered.idx ORDER BY asked.idx`;
}

async function scoreRows(
  duckdb: DuckDb,
  features: string,
  slicing: RequestField | undefined,
  { project, manifest, modelPath }: ScoreJob,
  onRows: OnRows,
): Promise<ScoredRows> {
  const requests: readonly Row[] =
    slicing === undefined ? [] : Object.keys(manifest.slices!.thresholds).map((text) => ({ [slicing.name]: text }));
  const scorer = await openColumnScorer(project, manifest, modelPath);
  await duckdb.run(`CREATE TABLE ${SCORED} (score DOUBLE, label DOUBLE)`);
  const writer = await duckdb.openDoubles(SCORED, 2);
  const summary = { rows: 0, unscored: 0, positives: 0 };
  let scores = new Float64Array(0);
  const answer = new Float64Array(2);
  try {
    for await (const { rows, columns } of duckdb.doubles(features)) {
      if (scores.length < rows) scores = new Float64Array(rows);
      await scorer.score(columns, rows, scores);
      const slices = slicing === undefined ? null : columns[manifest.featureNames.length]!;
      for (let i = 0; i < rows; i++) {
        const raw = scores[i]!;
        if (Number.isFinite(raw)) {
          const { score, label } = postProcess(
            manifest,
            raw,
            slices === null ? NO_REQUEST : (requests[slices[i]!] ?? NO_REQUEST),
          );
          answer[0] = score;
          answer[1] = label;
          summary.positives += label;
        } else {
          answer[0] = answer[1] = NaN;
          summary.unscored++;
        }
        writer.add(answer);
      }
      summary.rows += rows;
      onRows(rows);
    }
  } finally {
    writer.close();
    await scorer.release();
  }
  return summary;
}

async function writeOutput(
  duckdb: DuckDb,
  passed: readonly string[],
  asOf: string,
  { manifest, batch, firstRow, outputPath }: ScoreJob,
): Promise<void> {
  const { classes } = manifest;
  const selected = [
    ...passed.map((name) => `given.${quote(name)}`),
    `CONCAT(${textSql(`${batch}-`)}, ${firstRow - 1} + ROW_NUMBER() OVER ()) AS prediction_id`,
    'given."score as_of" AS as_of',
    `CAST(${manifest.version} AS INTEGER) AS version`,
    'CASE WHEN NOT ISNAN(scored.score) THEN scored.score END AS score',
    'CAST(CASE WHEN NOT ISNAN(scored.label) THEN scored.label END AS TINYINT) AS label',
    ...(classes === undefined
      ? []
      : [`CASE scored.label WHEN 0 THEN ${textSql(classes[0])} WHEN 1 THEN ${textSql(classes[1])} END AS class`]),
  ];
  const given = [...passed.map(quote), `${asOf} AS "score as_of"`];
  await duckdb.run(`
    COPY (SELECT ${selected.join(', ')} FROM (SELECT ${given.join(', ')} FROM ${INPUT}) given POSITIONAL JOIN ${SCORED} scored)
    TO ${textSql(outputPath)} (FORMAT parquet, COMPRESSION snappy)`);
}
