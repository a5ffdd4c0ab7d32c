/** Holds the online answers of a world against three others: DuckDB over the Parquet log, the kernel replayed, brute force. */
import { join } from 'node:path';
import type { ProjectSpec } from '../../../domain/project/spec.ts';
import type { DuckDb } from '../../../features/offline/duckdb.ts';
import { writeLog } from './log.ts';
import { createRandom } from './random.ts';
import { firstDifference, type ReadRecord, type ViewAnswer } from './read-log.ts';
import { recompute } from './recompute.ts';
import { replayView } from './replay.ts';
import { createWitness, type Witness } from './witness.ts';
import type { World } from './world.ts';

export const JUDGES = ['DuckDB over the log', 'the replayed kernel', 'brute force'] as const;
export type Judge = (typeof JUDGES)[number];

export interface Mismatch {
  readonly judge: Judge;
  readonly record: ReadRecord;
  /** Position of the view in the project, and of the output in the view. */
  readonly view: number;
  readonly output: number;
  readonly offline: ViewAnswer;
}

export interface Judgement {
  readonly mismatches: readonly Mismatch[];
  /** Values that were compared, with their statuses. */
  readonly cells: number;
  /** Reads that brute force was asked about. */
  readonly witnessed: number;
  readonly witnesses: readonly Witness[];
}

/**
 * @param witnessShare of the reads, which brute force answers too; every mismatch is shown to it besides
 * @param duckdb null: the kernel and brute force alone
 */
export async function judge(
  {
    project,
    world,
    records,
    witnessShare,
  }: {
    readonly project: ProjectSpec;
    readonly world: World;
    readonly records: readonly ReadRecord[];
    readonly witnessShare: number;
  },
  duckdb: DuckDb | null,
  dir: string,
): Promise<Judgement> {
  const mismatches: Mismatch[] = [];
  let cells = 0;
  const offline =
    duckdb === null ? null : await recompute(duckdb, project, await logsOf(duckdb, project, world, dir), records);
  const witnesses = project.views.map((view) => createWitness(project, view, world.rows));
  const random = createRandom(world.seed, 6);
  const isWitnessed = records.map(() => random.chance(witnessShare));
  for (const [view, spec] of project.views.entries()) {
    const replay = replayView(project, spec, world.rows);
    for (const [i, record] of records.entries()) {
      const online = record.answers[view]!;
      cells += online.values.length;
      const compare = (judge: Judge, answer: ViewAnswer): boolean => {
        const output = firstDifference(online, answer);
        if (output >= 0) mismatches.push({ judge, record, view, output, offline: answer });
        return output >= 0;
      };
      const knownSeq = record.knownSeq[view]!;
      const inDoubt = [
        offline !== null && compare('DuckDB over the log', offline[view]![i]!),
        compare('the replayed kernel', replay.answer(record.read, record.readAt, knownSeq)),
      ].includes(true);
      if (isWitnessed[i]! || inDoubt) {
        compare('brute force', witnesses[view]!.answer(record.read, record.readAt, knownSeq));
      }
    }
  }
  return { mismatches, cells, witnessed: isWitnessed.filter(Boolean).length, witnesses };
}

async function logsOf(
  duckdb: DuckDb,
  project: ProjectSpec,
  { rows }: World,
  dir: string,
): Promise<ReadonlyMap<string, string>> {
  const logs = new Map<string, string>();
  for (const source of project.sources) {
    const own = rows.filter((row) => row.source === source.name);
    logs.set(source.name, await writeLog(duckdb, source, own, join(dir, source.name)));
  }
  return logs;
}
