/** One case through one path: the spine's columns, the path's values and statuses, the split, all written as the schema has them. */
import { SerinError } from '../../../domain/errors.ts';
import { type SplitPart, splitRows } from '../../../domain/features/split.ts';
import type { LabelRead } from '../../../features/history/labels.ts';
import type { OutputValue } from '../../../features/history/plan.ts';
import type { FeatureStatus } from '../../../features/kernel/view-state.ts';
import type { Answer, AnswerValue, PitCase } from './case-types.ts';
import { type OutputShape, type World, worldOf } from './case-specs.ts';
import { writeValue } from './case-values.ts';

/** One view at one spine row: one entry per output, the default in place of null, statuses from before it. */
export interface ViewRead {
  readonly values: readonly OutputValue[];
  readonly statuses: readonly FeatureStatus[];
}

export interface WorldAnswer {
  /** Per view of the world, one per spine row. */
  readonly views: readonly (readonly ViewRead[])[];
  readonly labels: readonly (readonly LabelRead[])[];
}

export const PATH_NAMES = ['kernel', 'duckdb', 'postgres', 'redis'] as const;
export type PathName = (typeof PATH_NAMES)[number];

/** A way of execution. */
export interface Path {
  readonly name: PathName;
  answer(world: World): Promise<WorldAnswer>;
  close(): Promise<void>;
}

/** Codes that are answers; other errors are failures. */
const REFUSALS: readonly string[] = [
  'TIME_NO_ZONE',
  'TIME_PRECISION',
  'TIME_AMBIGUOUS',
  'TIME_INVALID',
  'KEY_TYPE_MISMATCH',
  'BAD_DURATION',
  'NAME_CLASH',
  'BOUNDARY_MISMATCH',
];

/** @throws whatever keeps the path from an answer */
export async function answerCase(given: PitCase, path: Path): Promise<Answer> {
  let world: World;
  try {
    world = worldOf(given);
  } catch (error) {
    if (error instanceof SerinError && REFUSALS.includes(error.code)) return { error: error.code };
    throw error;
  }
  return writeAnswer(world, await path.answer(world));
}

export function writeAnswer(world: World, answer: WorldAnswer): Answer {
  const { spine, views, labels } = world;
  const parts = splitOf(world);
  const rows = spine.rows.map((row, r): AnswerValue[] => [
    ...row.map((value, c) => writeValue(value, spine.types[c]!)),
    ...views.flatMap(({ outputs }, v) =>
      outputs.map((output, o) => writeOutput(answer.views[v]![r]!.values[o]!, output)),
    ),
    ...labels.map(({ output }, l) => writeOutput(answer.labels[l]![r]!.value, output)),
    ...(parts === null ? [] : [parts[r]!]),
  ]);
  const status: Record<string, string[]> = {};
  views.forEach(({ outputs }, v) =>
    outputs.forEach(({ name, hasStatus }, o) => {
      if (hasStatus) status[name] = answer.views[v]!.map(({ statuses }) => statuses[o]!.toUpperCase());
    }),
  );
  labels.forEach(({ output }, l) => (status[output.name] = answer.labels[l]!.map((read) => read.status)));
  return { rows, status };
}

function splitOf({ split, spine }: World): SplitPart[] | null {
  if (split === null) return null;
  const { rule, group } = split;
  return splitRows(rule, spine.asOf, group === null ? null : spine.rows.map((row) => row[group]!));
}

function writeOutput(value: OutputValue, { type, bucket }: OutputShape): AnswerValue {
  if (!Array.isArray(value)) return writeValue(value as Exclude<OutputValue, readonly unknown[]>, type);
  return value.map(([group, of]) => [writeValue(group, bucket!), writeValue(of, type)]);
}
