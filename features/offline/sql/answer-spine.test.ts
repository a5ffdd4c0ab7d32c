import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Expected, readCase } from '../../../test/conformance/pit/case-file.ts';
import { worldOf } from '../../../test/conformance/pit/case-specs.ts';
import { writeValue } from '../../../test/conformance/pit/case-values.ts';
import { answerByDuckDb } from '../../../test/conformance/pit/duckdb-path.ts';
import type { Datum } from '../../history/fact.ts';
import { DuckDb } from '../duckdb.ts';

let folder: string;
let duckdb: DuckDb;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-sql-'));
  duckdb = await DuckDb.open({ memory: '512MB', threads: 2, tempDir: folder });
});
afterAll(async () => {
  duckdb.close();
  await rm(folder, { recursive: true });
});

const FILE = new URL('../../../../shared/conformance/pit/cases.json', import.meta.url);
const isHere = existsSync(FILE);
const file = (isHere ? JSON.parse(readFileSync(FILE, 'utf8')) : { cases: [] }) as { cases: unknown[] };
const cases = file.cases.map((each) => readCase(each, 'case')).filter((each) => 'rows' in each.expected!);

describe.skipIf(!isHere)(`the public cases${isHere ? '' : ' (skipped: ../shared/conformance/pit is not here)'}`, () => {
  test.each(cases.map((each) => [each.id, each] as const))('%s', async (_, given) => {
    const world = worldOf(given);
    const { columns, disagreements } = await answerByDuckDb(duckdb, world);
    const outputs = [...world.views.flatMap((view) => view.outputs), ...world.labels.map((label) => label.output)];
    const expected = given.expected as Extract<Expected, { rows: unknown }>;
    const from = world.spine.names.length;
    outputs.forEach(({ name, type, bucket, hasStatus }, i) => {
      const values = columns[i]!.values.map((value) =>
        Array.isArray(value)
          ? value.map(([by, of]: [Datum, Datum]) => [writeValue(by, bucket!), writeValue(of, type)])
          : writeValue(value as Datum, type),
      );
      const right = expected.rows.map((row) => row[from + i]);
      expect([name, values.map(rounded)]).toEqual([name, right.map(rounded)]);
      if (hasStatus) expect([name, columns[i]!.statuses]).toEqual([name, expected.status[name]]);
    });
    expect(disagreements).toEqual([]);
  });
});

function rounded(value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(12)) : value;
}
