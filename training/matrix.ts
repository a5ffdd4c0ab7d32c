import { existsSync } from 'node:fs';
import { type DuckDBConnection, DuckDBDoubleVector, DuckDBInstance } from '@duckdb/node-api';
import { SerinError } from '../domain/errors.ts';

/** The labelled rows of one split, as numbers, in the order of their row ids. */
export interface TrainingMatrix {
  readonly rows: number;
  readonly columns: readonly string[];
  /** rows × columns, row-major; NaN is missing. Single precision, as served. */
  readonly x: Float32Array;
  /** 0 or 1 per row. */
  readonly y: Uint8Array;
  readonly rowIds: Float64Array;
  /** Micros per row. */
  readonly asOf: Float64Array;
}

export interface MatrixRequest {
  /** A dataset's Parquet file. */
  readonly path: string;
  /** Feature columns, in the order the model reads them. */
  readonly columns: readonly string[];
  readonly split: 'TRAIN' | 'TEST';
  /** Spine columns to bring along as text (slices); a null reads as `''`. */
  readonly extra?: readonly string[];
}

export interface ReadMatrix {
  readonly matrix: TrainingMatrix;
  /** One value per row for each column of `extra`. */
  readonly extra: ReadonlyMap<string, readonly string[]>;
}

/**
 * Reads one split of a dataset, without its unlabelled rows.
 * @throws SerinError DATASET_NOT_FOUND, COLUMN_UNKNOWN, COLUMN_TYPE, DATASET_EMPTY, TRAINING_INVALID (labels that are not 0 or 1)
 */
export async function readMatrix(request: MatrixRequest): Promise<ReadMatrix> {
  const { path, columns } = request;
  if (!existsSync(path))
    throw new SerinError('DATASET_NOT_FOUND', `there is no dataset file at ${path}`, { fields: { path } });
  if (columns.length === 0) throw new SerinError('TRAINING_INVALID', 'the feature set has no columns to train on');
  const instance = await DuckDBInstance.create(':memory:');
  try {
    const connection = await instance.connect();
    try {
      await checkColumns(connection, request);
      return await readRows(connection, request);
    } finally {
      connection.closeSync();
    }
  } finally {
    instance.closeSync();
  }
}

async function checkColumns(connection: DuckDBConnection, { path, columns, extra = [] }: MatrixRequest): Promise<void> {
  const reader = await connection.runAndReadAll(
    'select column_name, column_type from (describe from read_parquet($path))',
    { path },
  );
  const types = new Map(reader.getRows().map(([name, type]) => [String(name), String(type)]));
  for (const column of [...columns, ...extra])
    if (!types.has(column))
      throw new SerinError(
        'COLUMN_UNKNOWN',
        `the dataset has no column ${column}; it has ${[...types.keys()].join(', ')}`,
        {
          fields: { column },
        },
      );
  for (const column of columns)
    if (types.get(column) !== 'DOUBLE')
      throw new SerinError('COLUMN_TYPE', `the feature column ${column} is ${types.get(column)} but must be DOUBLE`, {
        fields: { column },
      });
}

async function readRows(
  connection: DuckDBConnection,
  { path, columns, split, extra = [] }: MatrixRequest,
): Promise<ReadMatrix> {
  const labelled = `from read_parquet($path) where split = $split and label is not null`;
  const counted = await connection.runAndReadAll(`select count(*)::double ${labelled}`, { path, split });
  const rows = Number(counted.getRows()[0]?.[0]);
  if (rows === 0)
    throw new SerinError('DATASET_EMPTY', `the dataset has no labelled ${split} rows`, { fields: { path, split } });

  const matrix: TrainingMatrix = {
    rows,
    columns,
    x: new Float32Array(rows * columns.length),
    y: new Uint8Array(rows),
    rowIds: new Float64Array(rows),
    asOf: new Float64Array(rows),
  };
  const texts = extra.map((): string[] => Array.from({ length: rows }, () => ''));

  // Nulls become NaN in SQL, so that a column is one plain block of doubles.
  const selected = [
    'row_id::double',
    'as_of::double',
    'label::double',
    ...columns.map((column) => `coalesce(${quoted(column)}, 'nan'::double)`),
    ...extra.map((column) => `coalesce(${quoted(column)}::varchar, '')`),
  ];
  const result = await connection.stream(`select ${selected.join(', ')} ${labelled} order by row_id`, { path, split });
  let at = 0;
  for (let chunk = await result.fetchChunk(); chunk !== null && chunk.rowCount > 0; chunk = await result.fetchChunk()) {
    const count = chunk.rowCount;
    copyDoubles(chunk.getColumnVector(0), count, matrix.rowIds, at, 1);
    copyDoubles(chunk.getColumnVector(1), count, matrix.asOf, at, 1);
    copyLabels(chunk.getColumnVector(2), count, matrix, at);
    for (let column = 0; column < columns.length; column++)
      copyDoubles(chunk.getColumnVector(3 + column), count, matrix.x, at * columns.length + column, columns.length);
    for (const [index, text] of texts.entries()) {
      const vector = chunk.getColumnVector(3 + columns.length + index);
      for (let row = 0; row < count; row++) text[at + row] = String(vector.getItem(row));
    }
    at += count;
  }
  return { matrix, extra: new Map(extra.map((column, index) => [column, texts[index] ?? []])) };
}

function copyDoubles(
  vector: unknown,
  count: number,
  to: Float64Array | Float32Array,
  start: number,
  stride: number,
): void {
  const doubles = asDoubles(vector);
  for (let row = 0, at = start; row < count; row++, at += stride) to[at] = doubles.getItem(row) ?? Number.NaN;
}

function copyLabels(vector: unknown, count: number, { y, rowIds }: TrainingMatrix, start: number): void {
  const doubles = asDoubles(vector);
  for (let row = 0; row < count; row++) {
    const label = doubles.getItem(row);
    if (label !== 0 && label !== 1)
      throw new SerinError(
        'TRAINING_INVALID',
        `row ${rowIds[start + row]} has label ${label} but a class label is 0 or 1`,
        {
          fields: { rowId: rowIds[start + row], label },
        },
      );
    y[start + row] = label;
  }
}

function asDoubles(vector: unknown): DuckDBDoubleVector {
  if (vector instanceof DuckDBDoubleVector) return vector;
  throw new TypeError('the query casts this column to DOUBLE, so its vector must be one of doubles');
}

function quoted(column: string): string {
  return `"${column.replaceAll('"', '""')}"`;
}
