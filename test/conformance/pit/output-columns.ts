/** Names and types of a case's answer, as the schema spells them. */
import type { CaseColumn, PitCase } from './case-types.ts';

export interface OutputColumn {
  readonly name: string;
  readonly type: string;
  /** A standard deviation, which is rounded more than once. */
  readonly deviates: boolean;
}

export function outputColumns({ spine, sources, views, labels, split }: PitCase): OutputColumn[] {
  const column = (name: string, type: string, fn: string | null = null): OutputColumn => ({
    name,
    type,
    deviates: fn?.startsWith('stddev') ?? false,
  });
  return [
    ...spine.columns.map(({ name, type }) => column(name, type)),
    ...views.flatMap(({ name: view, source, features }) =>
      features.flatMap(({ name, fn, column: of, windows, bucket }) => {
        const { columns } = sources.get(source)!;
        const type = resultType(fn, of, columns);
        const shown = bucket === null ? type : `map<${typeIn(columns, bucket)},${type}>`;
        const output = `${view}__${name}`;
        return fn === 'latest'
          ? [column(output, shown)]
          : windows.map((window) => column(`${output}__${window.name}`, shown, fn));
      }),
    ),
    ...labels.map(({ name, fn, source, column: of }) =>
      column(name, fn === 'any' ? 'bool' : resultType(fn, of, sources.get(source)!.columns), fn),
    ),
    ...(split === null ? [] : [column('split', 'str')]),
  ];
}

function typeIn(columns: readonly CaseColumn[], name: string | null): string {
  return columns.find((column) => column.name === name)?.type ?? 'i64';
}

function resultType(fn: string, of: string | null, columns: readonly CaseColumn[]): string {
  const type = typeIn(columns, of);
  if (fn === 'count' || fn === 'count_distinct') return 'i64';
  if (fn === 'sum') return type === 'f64' ? 'f64' : 'int';
  return fn === 'mean' || fn === 'rate' || fn.startsWith('stddev') ? 'f64' : type;
}
