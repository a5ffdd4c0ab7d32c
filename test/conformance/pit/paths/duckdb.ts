/** The SQL plans: the general one, and the one for latest values wherever a view has it, which must say the same. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LabelStatus } from '../../../../features/history/labels.ts';
import type { FeatureStatus } from '../../../../features/kernel/view-state.ts';
import { DuckDb } from '../../../../features/offline/duckdb.ts';
import type { Path, WorldAnswer } from '../answer.ts';
import { answerByDuckDb } from './duckdb-answer.ts';

export async function openDuckDbPath(): Promise<Path> {
  const folder = await mkdtemp(join(tmpdir(), 'serin-pit-duckdb-'));
  const duckdb = await DuckDb.open({ memory: '1GB', threads: 1, tempDir: folder });
  return {
    name: 'duckdb',
    async answer(world): Promise<WorldAnswer> {
      const { columns, disagreements } = await answerByDuckDb(duckdb, world);
      if (disagreements.length > 0) throw new Error(disagreements[0]);
      const rows = world.spine.rows.map((_, row) => row);
      let next = 0;
      const take = (count: number) => columns.slice(next, (next += count));
      return {
        views: world.views.map(({ outputs }) => {
          const own = take(outputs.length);
          return rows.map((row) => ({
            values: own.map(({ values }) => values[row]!),
            statuses: own.map(({ statuses }) => statuses[row]!.toLowerCase() as FeatureStatus),
          }));
        }),
        labels: world.labels.map(() => {
          const [column] = take(1);
          return rows.map((row) => ({
            value: column!.values[row]!,
            status: column!.statuses[row] as LabelStatus,
          }));
        }),
      };
    },
    async close() {
      duckdb.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
