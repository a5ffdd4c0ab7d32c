import { formatTime } from '../domain/features/time-text.ts';

/** Where a command writes: answers to stdout, progress and errors to stderr. */
export interface Output {
  readonly json: boolean;
  /** On a terminal tables are aligned; in a pipe cells are separated by tabs. */
  readonly terminal: boolean;
  write(text: string): void;
  note(text: string): void;
}

export function createOutput({ json }: { readonly json: boolean }): Output {
  return {
    json,
    terminal: process.stdout.isTTY === true,
    write: (text) => void process.stdout.write(`${text}\n`),
    note: (text) => void process.stderr.write(`${text}\n`),
  };
}

export type Cell = string | number | null | undefined;

/** The answer as JSON, or as what `text` makes of it. */
export function print<T>(output: Output, answer: T, text: (answer: T) => string): void {
  if (output.json) return output.write(JSON.stringify(answer, null, output.terminal ? 2 : 0));
  const written = text(answer);
  // an empty table in a pipe is no line, not an empty one
  if (written !== '') output.write(written);
}

export function table(output: Output, header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const cells = rows.map((row) => row.map(textOf));
  if (!output.terminal) return cells.map((row) => row.join('\t')).join('\n');
  if (cells.length === 0) return '(none)';
  const widths = header.map((name, column) => Math.max(name.length, ...cells.map((row) => (row[column] ?? '').length)));
  return [header.map((name) => name.toUpperCase()), ...cells]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `name: value` lines; members without a value are left out. */
export function fields(members: Readonly<Record<string, Cell>>): string {
  const present = Object.entries(members).filter(([, value]) => value !== undefined && value !== null);
  const width = Math.max(0, ...present.map(([name]) => name.length));
  return present.map(([name, value]) => `${`${name}:`.padEnd(width + 2)}${textOf(value)}`).join('\n');
}

/** `2001-06-01 12:00:00 UTC` */
export function instant(at: number | null | undefined): string {
  return at === null || at === undefined ? '' : `${formatTime(at).slice(0, 19).replace('T', ' ')} UTC`;
}

function textOf(cell: Cell): string {
  if (cell === null || cell === undefined) return '';
  return typeof cell === 'number' && !Number.isInteger(cell) ? cell.toPrecision(5) : String(cell);
}
