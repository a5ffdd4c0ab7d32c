import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type LogFile, periodAt, periodOf } from './log-file.ts';
import { FILES_MAX, FILES_PER_PERIOD, nextCompaction, ROWS_PER_FILE } from './log-compaction.ts';
import { MICROS_PER_DAY } from '../time.ts';

const DAY_ONE = Date.parse('2026-01-01T00:00:00Z') * 1_000;

let made = 0;

function aFile(day: number, rows: number, availableOn?: string): LogFile {
  const at = DAY_ONE + day * MICROS_PER_DAY;
  made += 1;
  return {
    blob: { uri: '', sha256: String(made), bytes: 0 },
    rows,
    firstSeq: made * 1_000_000,
    lastSeq: made * 1_000_000 + rows - 1,
    minEventAt: at,
    maxEventAt: at,
    minAvailableAt: at,
    maxAvailableAt: at,
    availableOn: availableOn ?? periodAt(at, 10),
  };
}

/** Makes every merge there is to make. */
function compacted(files: readonly LogFile[]): { files: readonly LogFile[]; written: number } {
  let standing = files;
  let written = 0;
  for (let next = nextCompaction(standing); next !== null; next = nextCompaction(standing)) {
    const { files: merged, period } = next;
    expect(merged.length).toBeGreaterThanOrEqual(2);
    for (const file of merged) expect(periodOf(file).startsWith(period)).toBe(true);
    const rows = merged.reduce((sum, file) => sum + file.rows, 0);
    expect(rows).toBeLessThanOrEqual(ROWS_PER_FILE);
    written += rows;
    const minAvailableAt = Math.min(...merged.map((file) => file.minAvailableAt));
    const maxAvailableAt = Math.max(...merged.map((file) => file.maxAvailableAt));
    standing = [
      ...standing.filter((file) => !merged.includes(file)),
      { ...aFile(0, rows, period), minAvailableAt, maxAvailableAt },
    ];
  }
  return { files: standing, written };
}

describe('compaction', () => {
  test('leaves a log of few files alone', () => {
    expect(nextCompaction([])).toBeNull();
    expect(nextCompaction(Array.from({ length: 200 }, (_, day) => aFile(day, 10)))).toBeNull();
  });

  test('brings the files of a day together and leaves other days alone', () => {
    const day = Array.from({ length: FILES_PER_PERIOD + 1 }, () => aFile(3, 10));
    const other = aFile(4, 10);
    const next = nextCompaction([other, ...day]);
    expect(next).toMatchObject({ period: '2026-01-04' });
    expect(next!.files).not.toContain(other);
    expect(next!.files).toHaveLength(FILES_PER_PERIOD + 1);
  });

  test('does not rewrite a large file for a few small ones', () => {
    const large = aFile(0, 1_000_000);
    const next = nextCompaction([large, ...Array.from({ length: FILES_PER_PERIOD }, () => aFile(0, 10))]);
    expect(next!.files).not.toContain(large);
  });

  test('makes months of days when there are too many, the oldest first, and years of months', () => {
    const years = compacted(Array.from({ length: 3 * 365 }, (_, day) => aFile(day, 10)));
    const periods = years.files.map(periodOf);
    expect(years.files.length).toBeLessThanOrEqual(FILES_MAX);
    expect(periods).toContain('2026-01');
    expect(periods).toContain('2028-12-30');
    const more = compacted(Array.from({ length: 25 * 365 }, (_, day) => aFile(day, 10)));
    expect(more.files.length).toBeLessThanOrEqual(FILES_MAX);
    expect(more.files.map(periodOf)).toContain('2026');
  });

  test('keeps an older file, which has no partition of its own, in the period that its rows lie in', () => {
    const { availableOn: _, ...old } = { ...aFile(0, 5), maxAvailableAt: DAY_ONE + 40 * MICROS_PER_DAY };
    expect(periodOf(old)).toBe('2026');
    expect(periodOf({ ...old, maxAvailableAt: DAY_ONE })).toBe('2026-01-01');
  });

  test('keeps the number of files bounded and loses no row, whatever comes in', () => {
    const batches = fc.array(fc.record({ day: fc.nat(900), rows: fc.integer({ min: 1, max: ROWS_PER_FILE }) }), {
      maxLength: 600,
    });
    fc.assert(
      fc.property(batches, (all) => {
        const files = all.map(({ day, rows }) => aFile(day, rows));
        const rows = files.reduce((sum, file) => sum + file.rows, 0);
        const result = compacted(files);
        expect(result.files.reduce((sum, file) => sum + file.rows, 0)).toBe(rows);
        expect(result.files.length).toBeLessThanOrEqual(FILES_MAX + (2 * rows) / ROWS_PER_FILE);
      }),
      { numRuns: 40 },
    );
  });

  test('writes a row a few times in all when a day gets a file every minute', () => {
    let files: readonly LogFile[] = [];
    let written = 0;
    for (let minute = 0; minute < 1_440; minute++) {
      const result = compacted([...files, aFile(0, 1_000)]);
      files = result.files;
      written += result.written;
      expect(files.length).toBeLessThanOrEqual(FILES_PER_PERIOD);
    }
    expect(written / (1_440 * 1_000)).toBeLessThan(Math.log2(1_440) + 1);
  });
});
