/** How two datasets of one plan differ, and by which events of the logs. */
import { SerinError } from '../../domain/errors.ts';
import {
  type ChangedCell,
  type ChangedColumn,
  type DatasetDiff,
  type DatasetSide,
  eventsEach,
  type SourceEvent,
} from '../../domain/features/dataset-explanation.ts';
import { quoteIdentifier as quote } from '../../domain/project/expression.ts';
import { FeatureEvents, newLabelEvents, type OpenDataset, ownEventsOf } from './dataset-explanation.ts';
import { type DuckDb, type ScalarValue, textSql } from './duckdb.ts';
import { newlyKnown, readSourceEvents } from './key-events.ts';

/** Cells that are looked into for each column. */
const SAMPLES_PER_COLUMN = 3;
/** Rows that are named of those in one dataset alone. */
const SAMPLED_ROWS = 10;

/**
 * Compares two datasets of one model, spine and feature set. Rows are the same when they have one id; those of a spine by
 * query, which have none that lasts, when they ask the same at the same instant.
 * @param after its logs must hold what both were made from
 * @throws INPUT_INVALID for datasets of different plans
 */
export async function diffDatasets(duckdb: DuckDb, before: OpenDataset, after: OpenDataset): Promise<DatasetDiff> {
  refuseOthers(before, after);
  const { manifest } = after;
  const spine = after.project.spines.find(({ name }) => name === manifest.spine);
  await joinRows(duckdb, before, after, spine?.sql === undefined ? null : ['as_of', ...manifest.requestFields]);
  const columns = ['label', 'label_status', 'split', ...manifest.requestFields, ...manifest.features];
  const changed = await countChanges(duckdb, columns);
  // the later knowledge holds the earlier one
  const knowledgeCut = {
    at: Math.max(before.manifest.knowledgeCut.at, manifest.knowledgeCut.at),
    seq: Object.fromEntries(
      Object.entries(manifest.knowledgeCut.seq).map(([source, seq]) => [
        source,
        Math.max(seq, before.manifest.knowledgeCut.seq[source] ?? 0),
      ]),
    ),
  };
  const reader = await FeatureEvents.open(duckdb, after, knowledgeCut);
  const found: ChangedColumn[] = [];
  const atMost = eventsEach(SAMPLES_PER_COLUMN * [...changed.values()].filter((count) => count > 0).length);
  for (const column of columns) {
    const count = changed.get(column)!;
    if (count === 0) continue;
    const samples: ChangedCell[] = [];
    for (const row of await sampleRows(duckdb, column, manifest.requestFields)) {
      const events = await eventsBehind(reader, before, after, column, row);
      samples.push({
        row: row['row_id'] as number,
        asOf: row['as_of'] as number,
        before: row['before'] as number | string | null,
        after: row['after'] as number | string | null,
        events: events.slice(0, atMost),
        eventCount: events.length,
      });
    }
    found.push({ column, changed: count, samples });
  }
  const [counts] = await duckdb.rows('SELECT COUNT(*) AS rows FROM pair');
  return {
    before: sideOf(before),
    after: sideOf(after),
    common: counts!['rows'] as number,
    added: await onlyIn(duckdb, 'b', 'a'),
    removed: await onlyIn(duckdb, 'a', 'b'),
    columns: found,
  };
}

function refuseOthers(before: OpenDataset, after: OpenDataset): void {
  for (const what of ['project', 'model', 'spine', 'label', 'featureSet'] as const) {
    const [a, b] = [before.manifest[what], after.manifest[what]];
    if (a === b) continue;
    throw new SerinError(
      'INPUT_INVALID',
      `datasets of one plan can be compared, but ${before.digest.slice(0, 12)} has the ${what} "${a}" and ${after.digest.slice(0, 12)} "${b}"`,
      { fields: { field: what, before: a, after: b } },
    );
  }
}

function sideOf({ digest, manifest }: OpenDataset): DatasetSide {
  return { digest, rows: manifest.rows, knowledgeCut: manifest.knowledgeCut };
}

/** Tables `a` and `b`, each with `same` (what makes two rows one), and `pair` of their columns by `a:` and `b:`. */
async function joinRows(
  duckdb: DuckDb,
  before: OpenDataset,
  after: OpenDataset,
  asked: readonly string[] | null,
): Promise<void> {
  for (const [name, { path }] of [
    ['a', before],
    ['b', after],
  ] as const) {
    const fields = asked?.map(quote).join(', ');
    const same =
      fields === undefined
        ? 'row_id'
        : `concat(to_json([${asked!.map((field) => `CAST(${quote(field)} AS VARCHAR)`).join(', ')}]), ' ', ROW_NUMBER() OVER (PARTITION BY ${fields} ORDER BY row_id))`;
    await duckdb.run(`CREATE VIEW ${name} AS SELECT ${same} AS same, * FROM read_parquet(${textSql(path)})`);
  }
  await duckdb.run(
    'CREATE TABLE pair AS SELECT a.same, a.row_id AS a_row, b.row_id AS b_row FROM a JOIN b ON a.same = b.same',
  );
}

async function countChanges(duckdb: DuckDb, columns: readonly string[]): Promise<Map<string, number>> {
  const counted = columns.map(
    (column, i) => `COUNT(*) FILTER (a.${quote(column)} IS DISTINCT FROM b.${quote(column)}) AS c${i}`,
  );
  const [row] = await duckdb.rows(
    `SELECT ${counted.join(', ')} FROM pair JOIN a ON a.row_id = a_row JOIN b ON b.row_id = b_row`,
  );
  return new Map(columns.map((column, i) => [column, row![`c${i}`] as number]));
}

async function sampleRows(
  duckdb: DuckDb,
  column: string,
  request: readonly string[],
): Promise<Record<string, ScalarValue>[]> {
  return duckdb.rows(`
    SELECT b.row_id, b.as_of, a.${quote(column)} AS before, b.${quote(column)} AS after
      ${request.map((field) => `, b.${quote(field)}`).join('')},
      ${['FALSE', ...['as_of', ...request].map((field) => `a.${quote(field)} IS DISTINCT FROM b.${quote(field)}`)].join(' OR ')} AS asks_other
    FROM pair JOIN a ON a.row_id = a_row JOIN b ON b.row_id = b_row
    WHERE a.${quote(column)} IS DISTINCT FROM b.${quote(column)}
    ORDER BY b.as_of, b.row_id LIMIT ${SAMPLES_PER_COLUMN}`);
}

async function onlyIn(duckdb: DuckDb, here: string, there: string): Promise<{ rows: number; samples: number[] }> {
  const alone = `FROM ${here} WHERE same NOT IN (SELECT same FROM ${there})`;
  const [counted] = await duckdb.rows(`SELECT COUNT(*) AS rows ${alone}`);
  const samples = await duckdb.rows(`SELECT row_id ${alone} ORDER BY as_of, row_id LIMIT ${SAMPLED_ROWS}`);
  return { rows: counted!['rows'] as number, samples: samples.map((row) => row['row_id'] as number) };
}

/** Stored rows that one of the datasets knew and the other did not, and that bear on a cell; newest first. */
async function eventsBehind(
  reader: FeatureEvents,
  before: OpenDataset,
  after: OpenDataset,
  column: string,
  row: Readonly<Record<string, ScalarValue>>,
): Promise<SourceEvent[]> {
  const cuts = [before.manifest.knowledgeCut, after.manifest.knowledgeCut] as const;
  const between = (source: string): [number, number] => {
    const [a, b] = cuts.map(({ seq }) => seq[source] ?? 0) as [number, number];
    return [Math.min(a, b), Math.max(a, b)];
  };
  const [from, until] = [Math.min(cuts[0].at, cuts[1].at), Math.max(cuts[0].at, cuts[1].at)];
  const isNew = ({ source, seq, availableAt }: SourceEvent): boolean => {
    const [first, last] = between(source);
    return (seq > first && seq <= last) || (availableAt > from && availableAt <= until);
  };
  if (column === 'label' || column === 'label_status') return newLabelEvents(reader, row, isNew);
  const feature = reader.features.find(({ name }) => name === column);
  // a row that asks something else now does so by a correction of its own event, which moves all of its cells
  const own = feature === undefined || row['asks_other'] === true ? await ownEventsOf(reader, row) : [];
  if (feature === undefined) return own.filter(isNew);
  const events = new Map(own.filter(isNew).map((event) => [`${event.source} ${event.seq}`, event]));
  for (const of of reader.viewFeaturesOf(feature)) {
    const history = await reader.history(of, row);
    if (history === null) continue;
    const facts = newlyKnown(of.plan, of.output, history, row['as_of'] as number, ...between(of.source.name));
    const found = await readSourceEvents(
      reader.duckdb,
      of.source.name,
      facts.map(({ seq }) => seq),
    );
    for (const event of found.values()) events.set(`${event.source} ${event.seq}`, event);
  }
  return [...events.values()].toSorted((a, b) => b.seq - a.seq);
}
