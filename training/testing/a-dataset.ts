import { DuckDBInstance } from '@duckdb/node-api';
import type { TrainingMatrix } from '../matrix.ts';
import { aMatrix, type MatrixOptions } from './a-matrix.ts';

/**
 * Writes a dataset file as the builder does: the rows of `aMatrix`, the last fifth of them TEST, each followed by one
 * without a label and one purged, which readers must leave out. @returns the rows it was made of
 */
export async function writeDataset(path: string, options: MatrixOptions = {}): Promise<TrainingMatrix> {
  const matrix = aMatrix(options);
  const width = matrix.columns.length;
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const features = matrix.columns.map((column) => `"${column}" double`).join(', ');
  await connection.run(
    `create table dataset (row_id bigint, as_of bigint, origin varchar, ${features}, label double, label_status varchar, split varchar)`,
  );
  const appender = await connection.createAppender('dataset');
  const append = (row: number, rowId: number, label: number | null, status: string, split: string): void => {
    appender.appendBigInt(BigInt(rowId));
    appender.appendBigInt(BigInt(matrix.asOf[row]!));
    if (row % 10 === 0) appender.appendNull();
    else appender.appendVarchar(row % 2 === 0 ? 'SEA' : 'JFK');
    for (let column = 0; column < width; column++) {
      const value = matrix.x[row * width + column]!;
      if (Number.isNaN(value)) appender.appendNull();
      else appender.appendDouble(value);
    }
    if (label === null) appender.appendNull();
    else appender.appendDouble(label);
    appender.appendVarchar(status);
    appender.appendVarchar(split);
    appender.endRow();
  };
  // Backwards, so that a reader that trusts the file's order is found out.
  for (let row = matrix.rows - 1; row >= 0; row--) {
    const split = row < matrix.rows * 0.8 ? 'TRAIN' : 'TEST';
    append(row, 3 * row, matrix.y[row]!, 'VALUE', split);
    append(row, 3 * row + 1, null, 'IMMATURE', split);
    append(row, 3 * row + 2, matrix.y[row]!, 'VALUE', 'PURGED');
  }
  appender.closeSync();
  await connection.run(`copy dataset to '${path.replaceAll("'", "''")}' (format parquet)`);
  connection.closeSync();
  instance.closeSync();
  return matrix;
}
