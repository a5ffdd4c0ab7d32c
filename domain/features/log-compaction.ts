/** Which files of a log to write together, so that their number stays bounded whatever the number of batches. */
import { type LogFile, type Period, PERIOD_LENGTHS, periodOf } from './log-file.ts';

/** A period has at most this many files. */
export const FILES_PER_PERIOD = 8;
/** Beyond this many files in all, days of the past become months, then months years. More than a month of days, each full of files. */
export const FILES_MAX = 256;
/** A merge writes no more rows than this; files of half of it stay as they are and are not counted. */
export const ROWS_PER_FILE = 8_000_000;

export interface Compaction {
  /** At least two. */
  readonly files: readonly LogFile[];
  /** The partition of the file that they become. */
  readonly period: Period;
}

/**
 * The next merge; null when there is none to make. Made one after the other they come to an end at no more than
 * `FILES_MAX` + 2 · rows / `ROWS_PER_FILE` files. A file is rewritten together with others of at least half its size, so
 * that a day that gets a small file every minute is not rewritten every minute.
 */
export function nextCompaction(files: readonly LogFile[]): Compaction | null {
  const open = files.filter(({ rows }) => rows < ROWS_PER_FILE / 2);
  const byPeriod = grouped(open, periodOf);
  for (const [period, group] of byPeriod) {
    if (group.length <= FILES_PER_PERIOD) continue;
    return { files: smallest(group, FILES_PER_PERIOD), period };
  }
  if (open.length <= FILES_MAX) return null;
  for (const length of PERIOD_LENGTHS.slice(1)) {
    const coarser = grouped(
      open.filter((file) => periodOf(file).length >= length),
      (file) => periodOf(file).slice(0, length),
    );
    // the newest one still gets files of its own days
    const past = length === 0 ? coarser : coarser.slice(0, -1);
    const found = past.find(([, group]) => group.length > 1);
    if (found !== undefined) return { files: smallest(found[1], 1), period: found[0] };
  }
  return null;
}

function grouped(
  files: readonly LogFile[],
  keyOf: (file: LogFile) => Period,
): (readonly [Period, readonly LogFile[]])[] {
  const groups = new Map<Period, LogFile[]>();
  for (const file of files) {
    const key = keyOf(file);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [file]);
    else group.push(file);
  }
  return [...groups].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

/** The smallest files, so many that at most `keep` are left, and then those that are not much larger than what is taken. */
function smallest(files: readonly LogFile[], keep: number): LogFile[] {
  const taken: LogFile[] = [];
  let rows = 0;
  for (const file of files.toSorted((a, b) => a.rows - b.rows || a.firstSeq - b.firstSeq)) {
    const enough = taken.length >= 2 && files.length - taken.length + 1 <= keep;
    if (taken.length >= 2 && (rows + file.rows > ROWS_PER_FILE || (enough && file.rows > 2 * rows))) break;
    taken.push(file);
    rows += file.rows;
  }
  return taken;
}
