/** What was measured, as a table for people and as JSON for whoever compares runs. */
import { cpus, freemem, loadavg, totalmem } from 'node:os';
import type { Usage } from './contender.ts';

export interface Line {
  readonly contender: string;
  /** Of all rounds; empty when it could not run. */
  readonly rounds: readonly Usage[];
  /** The contender that ratios are to; null for that one itself. */
  readonly against: string | null;
  /** Rows of the sample that are wrong; null: not judged. */
  readonly wrong: { readonly rows: number; readonly of: number } | null;
  readonly note: string;
}

export interface Target {
  readonly claim: string;
  readonly measured: string;
  readonly met: boolean;
}

export interface Bench {
  readonly name: string;
  readonly what: string;
  readonly lines: readonly Line[];
  readonly targets: readonly Target[];
}

export interface Machine {
  readonly cpus: string;
  readonly memoryGiB: number;
  readonly freeGiB: number;
  /** Of the last minute: other work makes wall times longer and leaves CPU times mostly as they are. */
  readonly load: number;
}

export function machine(): Machine {
  const gib = (bytes: number): number => Math.round((bytes / 2 ** 30) * 10) / 10;
  return {
    cpus: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}`,
    memoryGiB: gib(totalmem()),
    freeGiB: gib(freemem()),
    load: Math.round(loadavg()[0]! * 10) / 10,
  };
}

/** The median of each measure on its own. */
export function medianUsage(rounds: readonly Usage[]): Usage {
  const of = (pick: (usage: Usage) => number): number => {
    const sorted = rounds.map(pick).toSorted((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  };
  return {
    cpuSeconds: of((usage) => usage.cpuSeconds),
    wallSeconds: of((usage) => usage.wallSeconds),
    peakMiB: of((usage) => usage.peakMiB),
  };
}

/** CPU seconds of one contender as a multiple of another's; null when either did not run. */
export function ratio(lines: readonly Line[], contender: string, against: string): number | null {
  const [own, other] = [contender, against].map((name) => lines.find((line) => line.contender === name)?.rounds ?? []);
  if (own!.length === 0 || other!.length === 0) return null;
  return medianUsage(own!).cpuSeconds / medianUsage(other!).cpuSeconds;
}

export function tableOf({ name, what, lines, targets }: Bench): string {
  const rows = lines.map((line) => {
    if (line.rounds.length === 0) return [line.contender, '–', '–', '–', '–', '–', line.note];
    const { cpuSeconds, wallSeconds, peakMiB } = medianUsage(line.rounds);
    const times = line.against === null ? null : ratio(lines, line.contender, line.against);
    return [
      line.contender,
      cpuSeconds.toFixed(2),
      wallSeconds.toFixed(2),
      peakMiB.toFixed(0),
      times === null ? '1' : times.toFixed(2),
      line.wrong === null ? '' : `${line.wrong.rows} of ${line.wrong.of}`,
      line.note,
    ];
  });
  const all = [['', 'CPU s', 'wall s', 'peak MiB', 'CPU ratio', 'wrong rows', ''], ...rows];
  const widths = all[0]!.map((_, c) => Math.max(...all.map((row) => row[c]!.length)));
  const text = all.map((row) =>
    row
      .map((cell, c) => (c === 0 ? cell.padEnd(widths[c]!) : cell.padStart(c < 6 ? widths[c]! : 0)))
      .join('  ')
      .trimEnd(),
  );
  const judged = targets.map(({ claim, measured, met }) => `${met ? 'met   ' : 'MISSED'}  ${claim}: ${measured}`);
  return [`${name}: ${what}`, ...text, ...judged].join('\n');
}
