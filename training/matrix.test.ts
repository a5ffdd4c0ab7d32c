import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { beforeAll, expect, test } from 'vitest';
import { readMatrix, type TrainingMatrix } from './matrix.ts';
import { writeDataset } from './testing/a-dataset.ts';

const folder = mkdtempSync(join(tmpdir(), "serin's-matrix-"));
const path = join(folder, 'dataset.parquet');
let source: TrainingMatrix;

beforeAll(async () => {
  source = await writeDataset(path, { rows: 5000 });
});

async function writeRows(name: string, select: string): Promise<string> {
  const file = join(folder, name);
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  await connection.run(`copy (${select}) to '${file.replaceAll("'", "''")}' (format parquet)`);
  connection.closeSync();
  instance.closeSync();
  return file;
}

test('the labelled rows of the split come in the order of their ids, nulls as NaN', async () => {
  const { matrix } = await readMatrix({ path, columns: source.columns, split: 'TRAIN' });
  expect(matrix.rows).toBe(4000);
  expect(matrix.rowIds).toEqual(Float64Array.from({ length: 4000 }, (_, row) => 3 * row));
  expect(matrix.asOf).toEqual(source.asOf.slice(0, 4000));
  expect(matrix.y).toEqual(source.y.slice(0, 4000));
  expect(matrix.x).toEqual(source.x.slice(0, 4000 * source.columns.length));
});

test('columns come in the order asked for, with spine columns as text beside them', async () => {
  const { matrix, extra } = await readMatrix({
    path,
    columns: ['noise', 'linear'],
    split: 'TEST',
    extra: ['origin', 'split'],
  });
  expect(matrix.rows).toBe(1000);
  expect(matrix.x.slice(0, 2)).toEqual(Float32Array.of(source.x[4000 * 5 + 3]!, source.x[4000 * 5]!));
  expect(extra.get('origin')?.slice(0, 4)).toEqual(['', 'JFK', 'SEA', 'JFK']);
  expect(new Set(extra.get('split'))).toEqual(new Set(['TEST']));
});

test('values beyond single precision become infinite instead of failing', async () => {
  const file = await writeRows(
    'huge.parquet',
    `select 1::bigint row_id, 0::bigint as_of, -1e300::double big, 1::double as label, 'TRAIN' split`,
  );
  const { matrix } = await readMatrix({ path: file, columns: ['big'], split: 'TRAIN' });
  expect([...matrix.x]).toEqual([Number.NEGATIVE_INFINITY]);
});

test.each([
  ['a missing file', { path: '/nowhere/d.parquet', columns: ['linear'] }, 'DATASET_NOT_FOUND', '/nowhere/d.parquet'],
  [
    'an unknown column',
    { path, columns: ['linear', 'later'] },
    'COLUMN_UNKNOWN',
    'no column later; it has row_id, as_of',
  ],
  ['an unknown slice column', { path, columns: ['linear'], extra: ['airline'] }, 'COLUMN_UNKNOWN', 'no column airline'],
  ['a feature of text', { path, columns: ['origin'] }, 'COLUMN_TYPE', 'origin is VARCHAR but must be DOUBLE'],
  ['no columns', { path, columns: [] }, 'TRAINING_INVALID', 'no columns to train on'],
])('%s is refused', async (_, request, code, detail) => {
  await expect(readMatrix({ split: 'TRAIN', ...request })).rejects.toMatchObject({
    code,
    message: expect.stringContaining(detail) as string,
  });
});

test('an empty split and a label that is no class are refused', async () => {
  const file = await writeRows(
    'odd.parquet',
    `select 7::bigint row_id, 0::bigint as_of, 1::double x, 2::double as label, 'TRAIN' split`,
  );
  await expect(readMatrix({ path: file, columns: ['x'], split: 'TEST' })).rejects.toMatchObject({
    code: 'DATASET_EMPTY',
  });
  await expect(readMatrix({ path: file, columns: ['x'], split: 'TRAIN' })).rejects.toMatchObject({
    code: 'TRAINING_INVALID',
    message: 'row 7 has label 2 but a class label is 0 or 1',
  });
});
